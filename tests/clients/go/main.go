// A small program with client-go: typed (protobuf) and dynamic (JSON) clients create, watch, patch, apply, and an
// informer keeps its cache and resyncs. Argument: the kubeconfig. Exits with 1 at the first thing that is not as it
// would be against upstream.
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const patience = 30 * time.Second

func check(step string, ok bool, seen any) {
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: %v\n", step, seen)
		os.Exit(1)
	}
}

func must[T any](step string) func(T, error) T {
	return func(v T, err error) T { check(step, err == nil, err); return v }
}

func main() {
	config := must[*rest.Config]("read the kubeconfig")(clientcmd.BuildConfigFromFlags("", os.Args[1]))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	untyped := must[*dynamic.DynamicClient]("dynamic client")(dynamic.NewForConfig(config))
	proto := rest.CopyConfig(config)
	proto.ContentType = "application/vnd.kubernetes.protobuf"
	client := must[*kubernetes.Clientset]("typed client")(kubernetes.NewForConfig(proto))
	ns := must[*corev1.Namespace]("create a namespace")(client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "clients-go-"}}, metav1.CreateOptions{})).Name
	defer client.CoreV1().Namespaces().Delete(context.Background(), ns, metav1.DeleteOptions{})
	typed(ctx, client, ns)
	dynamically(ctx, untyped, ns)
	informer(ctx, client, ns)
	fmt.Println("ok")
}

// Create, watch, the three patches, apply by two managers.
func typed(ctx context.Context, client *kubernetes.Clientset, ns string) {
	maps := client.CoreV1().ConfigMaps(ns)
	events := must[watch.Interface]("watch")(maps.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=a"}))
	defer events.Stop()
	made := must[*corev1.ConfigMap]("create")(maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "1"}}, metav1.CreateOptions{}))
	check("create", made.UID != "" && made.ResourceVersion != "", made)
	_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})
	check("create again", apierrors.IsAlreadyExists(err), err)
	for kind, patch := range map[types.PatchType]string{
		types.MergePatchType:          `{"data":{"merge":"1"}}`,
		types.StrategicMergePatchType: `{"data":{"strategic":"1"}}`,
		types.JSONPatchType:           `[{"op":"add","path":"/data/json","value":"1"}]`,
	} {
		must[*corev1.ConfigMap](string(kind))(maps.Patch(ctx, "a", kind, []byte(patch), metav1.PatchOptions{}))
	}
	stale := made.DeepCopy()
	_, err = maps.Update(ctx, stale, metav1.UpdateOptions{})
	check("update of an old revision", apierrors.IsConflict(err), err)
	apply := applycore.ConfigMap("a", ns).WithData(map[string]string{"k": "2"})
	_, err = maps.Apply(ctx, apply, metav1.ApplyOptions{FieldManager: "one"})
	check("apply, conflict", apierrors.IsConflict(err), err)
	applied := must[*corev1.ConfigMap]("apply, force")(maps.Apply(ctx, apply, metav1.ApplyOptions{FieldManager: "one", Force: true}))
	check("apply, force", applied.Data["k"] == "2" && applied.Data["json"] == "1", applied.Data)
	must[struct{}]("delete")(struct{}{}, maps.Delete(ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID}}))
	seen := []watch.EventType{}
	for len(seen) < 6 {
		select {
		case e := <-events.ResultChan():
			seen = append(seen, e.Type)
		case <-time.After(patience):
			check("watch", false, seen)
		}
	}
	check("watch", fmt.Sprint(seen) == "[ADDED MODIFIED MODIFIED MODIFIED MODIFIED DELETED]", seen)
}

// The same kind without types, by JSON.
func dynamically(ctx context.Context, client *dynamic.DynamicClient, ns string) {
	maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(ns)
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "u"}, "data": map[string]any{"k": "1"}}}
	made := must[*unstructured.Unstructured]("dynamic apply")(maps.Apply(ctx, "u", object, metav1.ApplyOptions{FieldManager: "dynamic"}))
	check("managed fields", len(made.GetManagedFields()) == 1 && made.GetManagedFields()[0].Operation == metav1.ManagedFieldsOperationApply, made.GetManagedFields())
	list := must[*unstructured.UnstructuredList]("dynamic list")(maps.List(ctx, metav1.ListOptions{Limit: 1}))
	check("dynamic list", len(list.Items) == 1 && list.GetContinue() != "", list)
}

// A cache that follows, and hands out everything again when it resyncs.
func informer(ctx context.Context, client *kubernetes.Clientset, ns string) {
	var added, updated, resynced, deleted atomic.Int32
	factory := informers.NewSharedInformerFactoryWithOptions(client, time.Second, informers.WithNamespace(ns))
	secrets := factory.Core().V1().Secrets()
	secrets.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { added.Add(1) },
		UpdateFunc: func(old, now any) {
			if old.(*corev1.Secret).ResourceVersion == now.(*corev1.Secret).ResourceVersion {
				resynced.Add(1)
			} else {
				updated.Add(1)
			}
		},
		DeleteFunc: func(any) { deleted.Add(1) },
	})
	factory.Start(ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		check("cache sync", ok, kind)
	}
	secret := must[*corev1.Secret]("create a secret")(client.CoreV1().Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}))
	await(ctx, "informer: added", func() bool { return added.Load() == 1 })
	secret.StringData = map[string]string{"k": "v"}
	must[*corev1.Secret]("update a secret")(client.CoreV1().Secrets(ns).Update(ctx, secret, metav1.UpdateOptions{}))
	await(ctx, "informer: updated", func() bool { return updated.Load() == 1 })
	await(ctx, "informer: resynced", func() bool { return resynced.Load() > 0 })
	cached := must[*corev1.Secret]("the cache")(secrets.Lister().Secrets(ns).Get("s"))
	check("the cache", string(cached.Data["k"]) == "v", cached)
	must[struct{}]("delete a secret")(struct{}{}, client.CoreV1().Secrets(ns).Delete(ctx, "s", metav1.DeleteOptions{}))
	await(ctx, "informer: deleted", func() bool { return deleted.Load() == 1 })
}

func await(ctx context.Context, step string, done func() bool) {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(context.Context) (bool, error) { return done(), nil })
	check(step, err == nil, err)
}
