//! Query parameters of each action, with texts of our own.

/// Name, type and text.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

const BOOKMARKS: Parameter = ("allowWatchBookmarks", "boolean", "Whether a watch may bring BOOKMARK events, which tell how far it has come.");
const CONTINUE: Parameter = ("continue", "string", "The token of the page before; the other parameters must stay as they were.");
const DRY_RUN: Parameter = ("dryRun", "string", "With All, everything is done but the storing.");
const FIELDS: Parameter = ("fieldSelector", "string", "Narrows the objects by their fields.");
const LABELS: Parameter = ("labelSelector", "string", "Narrows the objects by their labels.");
const MANAGER: Parameter = ("fieldManager", "string", "Who makes the change, at most 128 printable characters. Required when applying.");
const VALIDATION: Parameter = ("fieldValidation", "string", "What is done about unknown and duplicate fields: Ignore, Warn (the default) or Strict.");
const FORCE: Parameter = ("force", "boolean", "Takes fields over from other managers when applying. Must be unset for other patches.");
const GRACE: Parameter = ("gracePeriodSeconds", "integer", "Seconds before the object goes; zero for at once.");
const UNSAFE: Parameter = ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Deletes an object that cannot be read from the store. Unsafe.");
const LIMIT: Parameter = ("limit", "integer", "The most objects in one answer; a continue token leads on.");
const ORPHAN: Parameter = ("orphanDependents", "boolean", "Deprecated: use propagationPolicy.");
const POLICY: Parameter = ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground.");
const REVISION: Parameter = ("resourceVersion", "string", "How fresh the answer must be.");
const MATCH: Parameter = ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan.");
const INITIAL: Parameter = ("sendInitialEvents", "boolean", "A watch brings the present state first, ended by a BOOKMARK.");
const TIMEOUT: Parameter = ("timeoutSeconds", "integer", "Seconds before a watch or a list ends.");
const WATCH: Parameter = ("watch", "boolean", "Brings changes as they happen instead of a list.");

pub(super) const LIST: &[Parameter] = &[BOOKMARKS, CONTINUE, FIELDS, LABELS, LIMIT, REVISION, MATCH, INITIAL, TIMEOUT, WATCH];
pub(super) const WRITE: &[Parameter] = &[DRY_RUN, MANAGER, VALIDATION];
pub(super) const PATCH: &[Parameter] = &[DRY_RUN, MANAGER, VALIDATION, FORCE];
pub(super) const DELETE: &[Parameter] = &[DRY_RUN, GRACE, UNSAFE, ORPHAN, POLICY];
pub(super) const DELETE_COLLECTION: &[Parameter] =
    &[CONTINUE, DRY_RUN, FIELDS, GRACE, UNSAFE, LABELS, LIMIT, ORPHAN, POLICY, REVISION, MATCH, INITIAL, TIMEOUT];

pub(super) const PRETTY: Parameter = ("pretty", "string", "Indents the answer.");

/// The options of connections and logs, by kind.
pub(super) fn of_connection(kind: &str) -> &'static [Parameter] {
    const STREAMS: [Parameter; 4] = [
        ("stderr", "boolean", "Brings the standard error stream."),
        ("stdin", "boolean", "Sends the standard input stream."),
        ("stdout", "boolean", "Brings the standard output stream."),
        ("tty", "boolean", "Allocates a terminal."),
    ];
    const CONTAINER: Parameter = ("container", "string", "The container; may be left out when there is one only.");
    match kind {
        "PodExecOptions" => {
            &[("command", "string", "The command and its arguments, not run in a shell."), CONTAINER, STREAMS[0], STREAMS[1], STREAMS[2], STREAMS[3]]
        }
        "PodAttachOptions" => &[CONTAINER, STREAMS[0], STREAMS[1], STREAMS[2], STREAMS[3]],
        "PodPortForwardOptions" => &[("ports", "integer", "The ports to forward; required with web sockets.")],
        "PodLog" => &[
            CONTAINER,
            ("follow", "boolean", "Goes on with new lines."),
            ("insecureSkipTLSVerifyBackend", "boolean", "Does not verify the node's certificate."),
            ("limitBytes", "integer", "The most bytes."),
            ("previous", "boolean", "The logs of the container that ran before."),
            ("sinceSeconds", "integer", "Only lines of the last seconds."),
            ("stream", "string", "All, Stdout or Stderr."),
            ("tailLines", "integer", "Only the last lines."),
            ("timestamps", "boolean", "Puts the time before each line."),
        ],
        "" => &[],
        _ => &[("path", "string", "The path to pass on.")],
    }
}
