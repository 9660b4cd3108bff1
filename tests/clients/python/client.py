"""A small program with the Python client: create, watch, patch, apply, and a list-and-watch cache that resyncs.
Argument: the kubeconfig. Fails at the first thing that is not as it would be against upstream."""
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

PATIENCE = 30


def refused(code, call):
    try:
        call()
    except (ApiException, dynamic.exceptions.DynamicApiError) as e:
        assert e.status == code, e
        return
    raise AssertionError(f"{code} was expected")


def requests(core, ns):
    seen, ready = [], threading.Event()

    def follow():
        for event in watch.Watch().stream(core.list_namespaced_config_map, ns, field_selector="metadata.name=a", timeout_seconds=PATIENCE):
            ready.set()
            seen.append(event["type"])
            if event["type"] == "DELETED":
                return

    follower = threading.Thread(target=follow)
    made = core.create_namespaced_config_map(ns, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    assert made.metadata.uid and made.metadata.resource_version
    follower.start()
    assert ready.wait(PATIENCE), "the watch shows nothing"
    refused(409, lambda: core.create_namespaced_config_map(ns, {"metadata": {"name": "a"}}))
    core.patch_namespaced_config_map("a", ns, {"data": {"strategic": "1"}})
    core.patch_namespaced_config_map("a", ns, [{"op": "add", "path": "/data/json", "value": "1"}])
    refused(409, lambda: core.replace_namespaced_config_map("a", ns, made))
    core.delete_namespaced_config_map("a", ns)
    follower.join(PATIENCE)
    assert seen == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], seen


def applies(api, ns):
    maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": "1"}}
    maps.server_side_apply(body=body, namespace=ns, field_manager="one")
    other = {**body, "data": {"k": "2"}}
    refused(409, lambda: maps.server_side_apply(body=other, namespace=ns, field_manager="two"))
    forced = maps.server_side_apply(body=other, namespace=ns, field_manager="two", force_conflicts=True)
    assert forced.data.k == "2"
    assert [m.manager for m in forced.metadata.managedFields] == ["two"], forced.metadata.managedFields


def cache(core, ns):
    """A reflector by hand: list, watch from its revision, list again, and both say the same."""
    listed = core.list_namespaced_secret(ns)
    held = {s.metadata.name: s.metadata.resource_version for s in listed.items}
    for name in ("x", "y"):
        core.create_namespaced_secret(ns, {"metadata": {"name": name}, "stringData": {"k": "v"}})
    core.delete_namespaced_secret("x", ns)
    for event in watch.Watch().stream(core.list_namespaced_secret, ns, resource_version=listed.metadata.resource_version, timeout_seconds=PATIENCE):
        meta = event["object"].metadata
        if event["type"] == "DELETED":
            held.pop(meta.name)
            break
        held[meta.name] = meta.resource_version
    again = {s.metadata.name: s.metadata.resource_version for s in core.list_namespaced_secret(ns).items}
    assert held == again, (held, again)


def main():
    config.load_kube_config(sys.argv[1])
    api = client.ApiClient()
    core = client.CoreV1Api(api)
    ns = core.create_namespace({"metadata": {"generateName": "clients-python-"}}).metadata.name
    try:
        requests(core, ns)
        applies(api, ns)
        cache(core, ns)
    finally:
        core.delete_namespace(ns)
    print("ok")


main()
