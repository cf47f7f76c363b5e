/**
 * Fanfare for React: hooks that share one connection and, for each channel, one subscription, and let go of both when
 * the last component that needs them is gone.
 *
 * ```jsx
 * <FanfareProvider url="http://localhost:8000/v1/apps/app_…">
 *   <Room />
 * </FanfareProvider>
 *
 * const { messages } = useMessages("demo:hello");
 * ```
 */
import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { type Channel, Fanfare, type Handler, type Message, type Options, type State, type SubscribeOptions } from "./index.js";
import {
  messagesOf,
  type MessagesSnapshot,
  NO_MESSAGES,
  NOBODY,
  presenceOf,
  type PresenceSnapshot,
  sharedBy,
} from "./react/channels.js";
import { Store } from "./react/store.js";

export type { MessagesSnapshot, PresenceSnapshot } from "./react/channels.js";

const Context = createContext<Fanfare | undefined>(undefined);

export interface FanfareProviderProps {
  /** A client of your own; it is not closed. */
  readonly client?: Fanfare;
  /** The app's URL: the provider has a client of its own then, connected while the provider is mounted. */
  readonly url?: string;
  /** How that client is made. Only `token` may change later. */
  readonly options?: Options;
  readonly children?: ReactNode;
}

/** Gives a client to the components below. */
export function FanfareProvider({ client, url, options, children }: FanfareProviderProps): ReactNode {
  if (client !== undefined) return createElement(Context.Provider, { value: client }, children);
  if (url === undefined) throw new Error("FanfareProvider wants `client` or `url`");
  return createElement(Owner, { key: url, url, options, children });
}

/** A client that is connected while somebody uses it. */
class Owned extends Store<object> {
  readonly client: Fanfare;

  constructor(url: string, options: Options | undefined) {
    super({});
    this.client = new Fanfare(url, { ...options, autoConnect: false });
  }

  protected override begin(): void {
    // States and the `error` event tell what becomes of it.
    this.client.connect().catch(() => {});
  }

  protected override end(): void {
    this.client.close();
  }
}

interface OwnerProps {
  readonly url: string;
  readonly options: Options | undefined;
  readonly children: ReactNode;
}

function Owner({ url, options, children }: OwnerProps): ReactNode {
  const latest = useLatest(options?.token);
  const [owned] = useState(() => {
    const { token } = options ?? {};
    const asked = () => (typeof latest.current === "function" ? latest.current() : (latest.current ?? ""));
    return new Owned(url, { ...options, ...(typeof token === "function" && { token: asked }) });
  });
  useEffect(() => owned.use(() => {}), [owned]);
  return createElement(Context.Provider, { value: owned.client }, children);
}

/** The client of the provider above. */
export function useFanfare(): Fanfare {
  const client = useContext(Context);
  if (client === undefined) throw new Error("there is no FanfareProvider above this component");
  return client;
}

/** `connecting`, `connected`, `reconnecting`, `failed` … */
export function useConnectionState(): State {
  const client = useFanfare();
  const subscribe = useMemo(() => (changed: () => void) => client.on("state", changed), [client]);
  return useSyncExternalStore(subscribe, () => client.state, () => "idle");
}

/** A channel, to publish to and to read the past of. */
export function useChannel(name: string): Channel {
  const client = useFanfare();
  return useMemo(() => client.channel(name), [client, name]);
}

export interface Subscribing {
  readonly subscribed: boolean;
  readonly error: MessagesSnapshot["error"];
}

/**
 * Calls the handler with each message while the component is mounted; it need not be the same function each time.
 * Options are those of the first component that subscribes the channel.
 */
export function useSubscription<T = unknown>(name: string, handler: Handler<T>, options: SubscribeOptions = {}): Subscribing {
  const latest = useLatest(handler as Handler);
  const { subscribed, error } = useChannelMessages(name, options, 0, latest);
  return { subscribed, error };
}

export interface MessagesOptions extends SubscribeOptions {
  /** How many messages are kept, the newest ones. 100 by default. */
  readonly max?: number;
}

export interface MessagesResult<T = unknown> extends MessagesSnapshot {
  readonly messages: readonly Message<T>[];
}

/** The last messages of a channel. Options are those of the first component that subscribes it. */
export function useMessages<T = unknown>(name: string, { max = 100, ...options }: MessagesOptions = {}): MessagesResult<T> {
  const all = useChannelMessages(name, options, max, undefined);
  return useMemo(() => ({ ...all, messages: all.messages.slice(-max) as Message<T>[] }), [all, max]);
}

export interface PresenceHookOptions {
  /** Whether this component makes the client a member. */
  readonly enter?: boolean;
  /** What the member says of itself. */
  readonly data?: unknown;
}

/** Who is on a channel; with `enter`, the client is a member while the component is mounted. */
export function usePresence(name: string, { enter = false, data }: PresenceHookOptions = {}): PresenceSnapshot {
  const client = useFanfare();
  const use = useMemo(() => (changed: () => void) => presenceOf(client, name).use(changed), [client, name]);
  const said = useLatest(data);
  // Objects are made anew at each render: what they say counts.
  const text = enter ? JSON.stringify(data) : undefined;
  useEffect(() => (enter ? presenceOf(client, name).enter(said.current) : undefined), [client, name, enter, text]);
  const look = () => sharedBy(client).presences.get(name)?.snapshot ?? NOBODY;
  return useSyncExternalStore(use, look, look);
}

function useChannelMessages(
  name: string,
  options: SubscribeOptions,
  max: number,
  handler: { readonly current: Handler } | undefined,
): MessagesSnapshot {
  const client = useFanfare();
  const start = useLatest(options);
  const use = useMemo(
    () => (changed: () => void) => {
      const store = messagesOf(client, name);
      const ends = [store.keep(max)];
      if (handler !== undefined) ends.push(store.handle((message) => handler.current(message)));
      ends.push(store.starting(start.current).use(changed));
      return () => ends.forEach((end) => end());
    },
    [client, name, max, handler, start],
  );
  const look = () => sharedBy(client).messages.get(name)?.snapshot ?? NO_MESSAGES;
  return useSyncExternalStore(use, look, look);
}

/** The value of the last render, for what runs later. */
function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}
