/**
 * Fanfare's client for browsers, workers and Node.
 *
 * ```js
 * const ff = new Fanfare("http://localhost:8000/v1/apps/app_…", { token: () => fetch("/fanfare-token").then(r => r.text()) });
 * ff.channel("room:9").subscribe(message => console.log(message.name, message.data));
 * ```
 *
 * Start reading at `client.ts` (the life of connections), then `subscription.ts` (positions and recovery).
 */
export { Fanfare, type Events, type Options } from "./client.js";
export type { Channel, HistoryOptions, HistoryPage, Published } from "./channel.js";
export { FanfareError, type ClientErrorCode, type ErrorCode, type ServerErrorCode } from "./errors.js";
export type { Socket, SocketClass } from "./link.js";
export type { ChannelPresence, Members, PresenceOptions } from "./members.js";
export type { Draft, Message } from "./message.js";
export type { PresenceHandler } from "./presence.js";
export type { Gap, Handler } from "./delivery.js";
export type { Limits, Notice, Occupancy, Rate } from "./protocol.js";
export type { JoinLeave, Member, PresenceEvent } from "./roster.js";
export type { State, StateChange } from "./session.js";
export type { Rewind, Start, Subscribed, SubscribeOptions } from "./subscription.js";
export type { TokenSource } from "./token.js";
export type { Transport } from "./transports.js";
