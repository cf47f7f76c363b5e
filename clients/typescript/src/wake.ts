/**
 * What the platform tells about networks and sleep. Timers do not run on time in a page that is hidden, a laptop that
 * sleeps or a phone that changes its network, so whoever waits by a timer looks again when one of these comes.
 */
const WINDOW_EVENTS = ["online", "offline", "pageshow"];
const DOCUMENT_EVENTS = ["visibilitychange", "resume"];

interface Page extends EventTarget {
  readonly visibilityState: string;
}

/** Calls `woken` when the page or worker may have been away, or its network may be another; the answer stops that. */
export function onWake(woken: () => void): () => void {
  const page = (globalThis as { document?: Page }).document;
  const look = () => {
    if (page === undefined || page.visibilityState !== "hidden") woken();
  };
  // Node has no global events: there timers are on time whenever the process runs.
  for (const name of WINDOW_EVENTS) globalThis.addEventListener?.(name, look);
  for (const name of DOCUMENT_EVENTS) page?.addEventListener(name, look);
  return () => {
    for (const name of WINDOW_EVENTS) globalThis.removeEventListener?.(name, look);
    for (const name of DOCUMENT_EVENTS) page?.removeEventListener(name, look);
  };
}
