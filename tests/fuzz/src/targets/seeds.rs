//! Inputs to begin from: small and whole, so that a change of a few bytes still means something.

use std::io::Write;

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|t| t.as_bytes().to_vec()).collect()
}

const OBJECTS: &[&str] = &[
    r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default","labels":{"a":"b"},"creationTimestamp":null},"spec":{"containers":[{"name":"c","image":"i:1","command":["sh","-c","x"],"ports":[{"containerPort":80,"protocol":"TCP"}],"env":[{"name":"A","value":"$(B)"},{"name":"C","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a']"}}}],"resources":{"limits":{"cpu":"0.5","memory":"1Gi"},"requests":{"cpu":"100m"}},"livenessProbe":{"httpGet":{"path":"/","port":"http"},"periodSeconds":5},"volumeMounts":[{"name":"v","mountPath":"/v","subPath":"a/b"}],"securityContext":{"runAsUser":1000,"capabilities":{"add":["NET_ADMIN"]}}}],"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1Mi"}},{"name":"w","projected":{"sources":[{"serviceAccountToken":{"path":"t","expirationSeconds":3600}}]}}],"tolerations":[{"key":"k","operator":"Exists","effect":"NoExecute","tolerationSeconds":3}],"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}]}}},"nodeName":"n","hostNetwork":true},"status":{"phase":"Running","podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True"}]}}"#,
    r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"default","managedFields":[{"manager":"m","operation":"Apply","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}}}]},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"x","operator":"NotIn","values":["y"]}]},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":1}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
    r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"default"},"spec":{"type":"NodePort","clusterIP":"10.43.0.9","clusterIPs":["10.43.0.9"],"ipFamilies":["IPv4"],"ports":[{"name":"http","port":80,"targetPort":"http","nodePort":30080,"protocol":"TCP"}],"selector":{"a":"b"},"externalIPs":["1.2.3.4"],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10}}}}"#,
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default","annotations":{"x/y":"z"},"finalizers":["a/b"],"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u","controller":true}]},"data":{"a":"1"},"binaryData":{"b":"AAEC"}}"#,
    r#"{"apiVersion":"v1","kind":"Secret","metadata":{"generateName":"s-","namespace":"default"},"type":"Opaque","data":{"a":"YQ=="},"stringData":{"b":"c"}}"#,
    r#"{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"j","namespace":"default"},"spec":{"schedule":"*/5 1-3,7 * JAN MON-FRI","timeZone":"Etc/UTC","concurrencyPolicy":"Forbid","jobTemplate":{"spec":{"completions":3,"parallelism":2,"completionMode":"Indexed","podFailurePolicy":{"rules":[{"action":"FailJob","onExitCodes":{"operator":"In","values":[1,2]}}]},"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}"#,
    r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"n","namespace":"default"},"spec":{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}},{"namespaceSelector":{"matchLabels":{"a":"b"}}}],"ports":[{"port":80,"endPort":90}]}],"policyTypes":["Ingress"]}}"#,
    r#"{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c","namespace":"default"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1.5Gi"}},"storageClassName":"local-path","dataSourceRef":{"kind":"X","name":"y","apiGroup":"z"}}}"#,
    r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"r"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]},"rules":[{"apiGroups":["*"],"resources":["pods/*"],"verbs":["get"],"resourceNames":["x"]},{"nonResourceURLs":["/x*"],"verbs":["get"]}]}"#,
    r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},"spec":{"podCIDR":"10.42.0.0/24","taints":[{"key":"k","effect":"NoSchedule"}]},"status":{"capacity":{"cpu":"2","memory":"8Gi"},"addresses":[{"type":"InternalIP","address":"1.2.3.4"}]}}"#,
    r#"{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s","namespace":"default"},"spec":{"serviceName":"s","selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}},"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Mi"}}}}],"updateStrategy":{"rollingUpdate":{"partition":1}}}}"#,
    r#"{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"w"},"webhooks":[{"name":"a.b.c","clientConfig":{"url":"https://x/y"},"rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}],"sideEffects":"None","admissionReviewVersions":["v1"],"matchConditions":[{"name":"m","expression":"object.metadata.name != 'x'"}]}]}"#,
    r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l","namespace":"default"},"spec":{"holderIdentity":"h","leaseDurationSeconds":40,"renewTime":"2026-01-02T03:04:05.678901Z"}}"#,
    r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"as.x.y"},"spec":{"group":"x.y","scope":"Namespaced","names":{"plural":"as","singular":"a","kind":"A","listKind":"AList","shortNames":["z"]},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"x-kubernetes-validations":[{"rule":"self.n > 0"}]}}}},"subresources":{"status":{},"scale":{"specReplicasPath":".spec.n","statusReplicasPath":".status.n"}},"additionalPrinterColumns":[{"name":"N","type":"integer","jsonPath":".spec.n"}]}]}}"#,
    r#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground","gracePeriodSeconds":0,"preconditions":{"uid":"u","resourceVersion":"1"}}"#,
];

pub fn objects() -> Vec<Vec<u8>> {
    texts(OBJECTS)
}

pub fn yaml() -> Vec<Vec<u8>> {
    let mut all = texts(&[
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  labels: &l {a: \"b\", n: 'x'}\n  annotations: *l\ndata:\n  a: |\n    text\n  b: >-\n    folded\n  0644: yes\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: !!binary YQ==}\n",
        "a: &a [x, y]\nb: &b [*a, *a]\nc: {<<: &m {k: 1}, k: 2}\nd: ~\ne: 1_000\nf: 0x1F\ng: .inf\nh: 2001-12-14\n",
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: s}\n  spec: {ports: [{port: 80}]}\n",
    ]);
    all.push(OBJECTS.first().map_or_else(Vec::new, |o| o.as_bytes().to_vec()));
    all
}

pub fn protobuf() -> Vec<Vec<u8>> {
    let encode = |text: &str| {
        let meta = skiff_codec::type_meta(text.as_bytes()).ok()?;
        let ty = skiff_schema::by_gvk(meta.group(), meta.version(), &meta.kind)?;
        let object = skiff_codec::decode_json(ty, text.as_bytes()).ok()?.object;
        skiff_codec::encode_protobuf(ty, &meta.api_version, &meta.kind, &skiff_codec::encode_json(ty, &object)).ok()
    };
    OBJECTS.iter().filter_map(|o| encode(o)).collect()
}

pub fn json_patches() -> Vec<Vec<u8>> {
    texts(&[
        r#"[{"op":"test","path":"/metadata/name","value":"p"},{"op":"replace","path":"/spec/containers/0/image","value":"x"},{"op":"add","path":"/spec/containers/-","value":{"name":"z"}},{"op":"remove","path":"/metadata/labels/a"},{"op":"move","from":"/spec","path":"/status"},{"op":"copy","from":"/metadata","path":"/spec/a~1b~0c"}]"#,
        r#"[{"op":"add","path":"","value":{}},{"op":"copy","from":"","path":"/a"},{"op":"copy","from":"","path":"/a/a"}]"#,
    ])
}

pub fn patches() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"metadata":{"labels":{"a":null,"c":"d"},"finalizers":["z"],"$deleteFromPrimitiveList/finalizers":["x"],"$setElementOrder/finalizers":["z","y"]},"spec":{"containers":[{"name":"a","image":"k","ports":[{"containerPort":80,"protocol":"UDP"}],"env":[{"$patch":"delete","name":"A"}]},{"$patch":"delete","name":"b"}],"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"tolerations":[{"key":"z"}],"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}"#,
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"a","ports":[{"containerPort":81}]},{"name":"c"}],"$patch":"replace"}}"#,
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"managedFields":[{"manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}}}}}]},"spec":{"containers":[{"name":"a"},{"name":"a"}]}}"#,
    ])
}

pub fn field_sets() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\",\"n\":1}":{".":{},"f:image":{}}},"f:list":{"v:\"x\"":{},"v:1.5":{},"i:3":{}}}}"#,
    ])
}

pub fn words() -> Vec<Vec<u8>> {
    texts(&[
        "1.5Gi",
        "100m",
        "1e3",
        "-0.001",
        "12345678901234567890",
        "1n",
        "0.1u",
        "5E",
        "1e-20Ki",
        "a=b,c!=d,e in (f,g),h notin (i),!j,k",
        "x > 5,y < 3",
        "metadata.name=a\\,b,status.phase!=Running",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.123456+01:00",
        "apps/v1",
        "example.com/some-name",
        "42",
    ])
}

pub fn cel() -> Vec<Vec<u8>> {
    texts(&[
        "self.spec.containers.all(c, c.name.startsWith('a') && c.ports.exists(p, p.containerPort > 1024))",
        "has(object.metadata.labels) && object.metadata.labels['a'] in ['b', \"c\"] ? size(self.spec.containers) + 1 == 2 : !false",
        "[1, 2, 3].map(x, x * 2).filter(x, x % 3 != 0).sum() >= 4u || {'a': 1.5}['a'] < 2.0",
        "quantity('1Gi').isGreaterThan(quantity('500M')) && url('https://a.b/c?d=e').getHost() == 'a.b' && ip('10.0.0.1').family() == 4",
        "duration('1h').getSeconds() > timestamp('2026-01-01T00:00:00Z').getFullYear() || 'abc'.matches('^a(b|c)+$') || b'\\x00' == b''",
        "'%s-%d'.format(['a', 9223372036854775807]) + string(1 / 1) + 'x'.replace('', 'y', -1) + 'a,b'.split(',')[0]",
        "object.?metadata.?name.orValue('x').lowerAscii().indexOf('p') == 0",
    ])
}

pub fn jsonpaths() -> Vec<Vec<u8>> {
    texts(&[".spec.a[0].b", "$.a[*].b", "..b", ".m['x.y']", ".a[?(@.b==1)].c", ".a[-1:]", ".a[0:2:1]", ".metadata.annotations.x\\.y/z", ".a[0,1]", ".*"])
}

pub fn schemas() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"schema":{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{"n":{"type":"integer","minimum":1,"default":3},"s":{"type":"string","pattern":"^x{2,3}$","format":"date-time"}},"required":["n"]},"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["n"]},"m":{"type":"object","additionalProperties":{"x-kubernetes-int-or-string":true}},"o":{"oneOf":[{"required":["a"]},{"not":{"required":["b"]}}],"nullable":true}},"x-kubernetes-preserve-unknown-fields":true},"value":{"a":[{"n":1,"z":1},{"n":1}],"m":{"x":"1"},"o":null},"path":".spec.a['b'].c"}"#,
        OBJECTS[13],
    ])
}

pub fn queries() -> Vec<Vec<u8>> {
    texts(&[
        "labelSelector=a=b,c in (d)&fieldSelector=metadata.name=x&limit=2&resourceVersion=1&resourceVersionMatch=Exact",
        "limit=5&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
        "resourceVersion=0&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&limit=-1",
    ])
}

pub fn tokens() -> Vec<Vec<u8>> {
    texts(&[
        "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.eyJhdWQiOlsiaHR0cHM6Ly9pc3N1ZXIiXSwiZXhwIjoxODAwMDAzNjAwLCJpc3MiOiJodHRwczovL2lzc3VlciIsImt1YmVybmV0ZXMuaW8iOnsibmFtZXNwYWNlIjoiZGVmYXVsdCIsInNlcnZpY2VhY2NvdW50Ijp7Im5hbWUiOiJhIiwidWlkIjoidSJ9fSwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50OmRlZmF1bHQ6YSJ9.AAAA",
        "a.b.c",
        "abcdef.0123456789abcdef",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ])
}

pub fn levels() -> Vec<Vec<u8>> {
    texts(&["info", "warn,node=debug,api=trace", "=,=,", "off"])
}

/// A tar of plain, linked, long-named and extended entries.
pub fn tars() -> Vec<Vec<u8>> {
    let field = |header: &mut [u8; 512], at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    let entry = |name: &str, kind: u8, link: &str, content: &[u8]| {
        let mut header = [0; 512];
        field(&mut header, 0, name);
        field(&mut header, 100, "0000644\0");
        field(&mut header, 108, "0000000\0");
        field(&mut header, 116, "0000000\0");
        field(&mut header, 124, &format!("{:011o}\0", content.len()));
        field(&mut header, 136, "00000000000\0");
        header[156] = kind;
        field(&mut header, 157, link);
        field(&mut header, 257, "ustar\x0000");
        field(&mut header, 148, "        ");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        field(&mut header, 148, &format!("{sum:06o}\0 "));
        let mut out = header.to_vec();
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    };
    let end = vec![0; 1024];
    let plain = [
        entry("a", b'0', "", b"hello"),
        entry("d/", b'5', "", b""),
        entry("d/l", b'2', "../a", b""),
        entry("h", b'1', "a", b""),
        entry("c", b'3', "", b""),
        end.clone(),
    ]
    .concat();
    let pax = [
        entry("x", b'x', "", b"30 mtime=1700000000.123456789\n12 path=bb\n25 SCHILY.xattr.user.a=b\n20 size=00000000005\n"),
        entry("short", b'0', "", b"hello"),
        entry("g", b'g', "", b"11 uid=100\n"),
        end.clone(),
    ]
    .concat();
    let gnu = [entry("././@LongLink", b'L', "", "n".repeat(300).as_bytes()), entry("n", b'0', "", b"x"), end].concat();
    let sparse =
        [entry("x", b'x', "", b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n27 GNU.sparse.realsize=100\n"), entry("s", b'0', "", b"1\n0\n5\nhello")].concat();
    vec![plain, pax, gnu, sparse]
}

pub fn layers() -> Vec<Vec<u8>> {
    let gzip = |bytes: &[u8]| {
        let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        for part in bytes.chunks(60_000) {
            let last = u8::from(part.as_ptr_range().end == bytes.as_ptr_range().end);
            let length = part.len() as u16;
            let _ = out.write_all(&[last]);
            let _ = out.write_all(&length.to_le_bytes());
            let _ = out.write_all(&(!length).to_le_bytes());
            let _ = out.write_all(part);
        }
        out
    };
    let mut all = tars();
    all.extend(tars().iter().map(|t| gzip(t)));
    all.push(vec![0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x29, 0, 0, b'h', b'e', b'l', b'l', b'o', 0, 0, 0, 0]);
    all
}

pub fn manifests() -> Vec<Vec<u8>> {
    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let mut all = texts(&[
        r#"{"architecture":"amd64","os":"linux","config":{"User":"1000:1000","Env":["PATH=/bin"],"Entrypoint":["/a"],"Cmd":["b"],"WorkingDir":"/w","ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGTERM"},"rootfs":{"type":"layers","diff_ids":["DIGEST"]},"history":[{"created":"2026-01-01T00:00:00Z","empty_layer":true}]}"#,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"DIGEST","size":3},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"DIGEST","size":5,"annotations":{"a":"b"}}]}"#,
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"DIGEST","size":9,"platform":{"architecture":"arm","os":"linux","variant":"v7"}}]}"#,
    ]);
    for one in &mut all {
        *one = String::from_utf8_lossy(one).replace("DIGEST", DIGEST).into_bytes();
    }
    all
}

pub fn references() -> Vec<Vec<u8>> {
    texts(&[
        "nginx",
        "docker.io/library/nginx:1.27",
        "localhost:5000/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "[::1]:80/x:y",
        "a.b/c__d/e-f:_g.h",
    ])
}

pub fn registries() -> Vec<Vec<u8>> {
    texts(&[
        "mirrors:\n  docker.io:\n    endpoint: [\"https://m:5000/v2\", \"http://n\"]\n    rewrite: {\"^library/(.*)\": \"p/$1\"}\n  \"*\": {endpoint: [x]}\nconfigs:\n  m:5000:\n    auth: {username: u, password: p, token: t}\n    tls: {ca_file: /c, insecure_skip_verify: true}\n",
    ])
}

pub fn audit_policies() -> Vec<Vec<u8>> {
    texts(&[
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: None, nonResourceURLs: ['/healthz*']}\n- level: Metadata\n  users: [a]\n  userGroups: [b]\n  verbs: [get]\n  namespaces: ['']\n  resources: [{group: '', resources: ['pods/log', '*/status'], resourceNames: [x]}]\n  omitManagedFields: true\n",
    ])
}

pub fn flow_control() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"levels":[{"metadata":{"name":"l","uid":"u"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":30,"lendablePercent":50,"borrowingLimitPercent":10,"limitResponse":{"type":"Queue","queuing":{"queues":8,"handSize":2,"queueLengthLimit":5}}}}},{"metadata":{"name":"exempt"},"spec":{"type":"Exempt","exempt":{}}}],"schemas":[{"metadata":{"name":"s"},"spec":{"matchingPrecedence":5,"priorityLevelConfiguration":{"name":"l"},"distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[{"kind":"User","user":{"name":"*"}},{"kind":"ServiceAccount","serviceAccount":{"namespace":"a","name":"*"}}],"resourceRules":[{"verbs":["*"],"apiGroups":[""],"resources":["pods/log"],"namespaces":["*"],"clusterScope":true}],"nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/health*"]}]}]}}]}"#,
    ])
}

pub fn spdy() -> Vec<Vec<u8>> {
    vec![
        // SETTINGS, PING, a SYN_STREAM whose block is rubbish, DATA with FIN, RST_STREAM, GOAWAY.
        b"\x80\x03\x00\x04\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x64\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01".to_vec(),
        b"\x80\x03\x00\x01\x00\x00\x00\x16\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x78\xbb\xe3\xc6\xa7\xc2\x02\x00\x00\x00\x00\x00".to_vec(),
        b"\x00\x00\x00\x01\x01\x00\x00\x05hello\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x05\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00".to_vec(),
    ]
}

pub fn websocket() -> Vec<Vec<u8>> {
    // Masked with zeros: stdin, a terminal's size, base64, a close of stdin, ping, close.
    vec![
        b"\x82\x86\0\0\0\0\0hello\x82\x9b\0\0\0\0\x04{\"Width\":80,\"Height\":24}\n\x81\x85\0\0\0\x000aGk=\x82\x82\0\0\0\0\xff\0\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8".to_vec(),
        b"\x02\xfe\x00\x7e\0\0\0\0\0".to_vec(),
        b"\x82\xff\x00\x00\x00\x00\x7f\xff\xff\xff\0\0\0\0\0".to_vec(),
    ]
}

pub fn dns() -> Vec<Vec<u8>> {
    let query = |name: &str, kind: u8| {
        let mut out = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in name.split('.') {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.extend_from_slice(&[0, 0, kind, 0, 1]);
        out
    };
    vec![
        query("web.default.svc.cluster.local", 1),
        query("_http._tcp.web.default.svc.cluster.local", 33),
        query("1.0.43.10.in-addr.arpa", 12),
        query("10-42-0-1.default.pod.cluster.local", 28),
    ]
}

pub fn resolv_conf() -> Vec<Vec<u8>> {
    texts(&["# c\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a b\noptions ndots:5\n"])
}

pub fn netlink() -> Vec<Vec<u8>> {
    vec![b"\x09\x00\x03\x00eth0\0\0\0\0\x08\x00\x01\x00\x0a\x00\x00\x01\x10\x00\x12\x80\x0c\x00\x01\x00vxlan\0\0\0".to_vec()]
}
