//! The one table of errors and close reasons.
//!
//! A row gives the code's slug (the contract, used in REST and on sockets alike), its WebSocket close number, its HTTP
//! status, and the page a person reads: what they see, why, and what to do. The number's hundred says what a client
//! should do: 4000–4099 do not come back unchanged, 4100–4199 back off, 4200–4299 come back now, 4400–4499 get a
//! token and come back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a client should do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same again fails again.
    Never,
    /// Again later, waiting longer each time.
    Backoff,
    /// Again at once.
    Now,
    /// Again with a new token.
    Token,
}

macro_rules! codes {
    ($($name:ident = $number:literal, $slug:literal, $status:literal, $title:literal, $see:literal, $why:literal, $todo:literal;)+) => {
        /// A code of an error or of a closed connection.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode { $(#[doc = $title] #[serde(rename = $slug)] $name,)+ }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The contract: what programs compare.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $slug,)+ } }

            /// The WebSocket close number.
            #[must_use]
            pub const fn close(self) -> u16 { match self { $(Self::$name => $number,)+ } }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$name => $status,)+ } }

            /// One line for people.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$name => $title,)+ } }

            /// What a person sees when it happens.
            #[must_use]
            pub const fn see(self) -> &'static str { match self { $(Self::$name => $see,)+ } }

            /// Why it happens.
            #[must_use]
            pub const fn why(self) -> &'static str { match self { $(Self::$name => $why,)+ } }

            /// What to do about it.
            #[must_use]
            pub const fn todo(self) -> &'static str { match self { $(Self::$name => $todo,)+ } }
        }
    };
}

codes! {
    // 4000–4099: the same again fails again.
    InvalidRequest = 4000, "invalid_request", 400, "The request is not valid",
        "A request or command is refused; `errors` lists each wrong place by JSON pointer.",
        "A field is missing, unknown, of the wrong type or out of bounds. Unknown fields are refused so that a misspelt option is never ignored.",
        "Correct the places named in `errors` and send it again.";
    InvalidJson = 4001, "invalid_json", 400, "The body is not JSON",
        "A request or frame is refused before anything in it is looked at.",
        "The bytes are not one JSON value in UTF-8, repeat a key, or are nested deeper than 32 levels.",
        "Send valid JSON; `detail` says where reading stopped.";
    InvalidChannel = 4002, "invalid_channel", 400, "The channel's name is not valid",
        "A channel, or a pattern of channels, is refused; `detail` names the byte.",
        "Names are 1 to 200 bytes of printable ASCII without space and without * { } [ ] ? % \\ \" < >, in segments parted by single colons. Names that start with $ are Fanfare's own.",
        "Use a name inside these rules. In a REST path, percent-encode what URLs need once.";
    InvalidPosition = 4003, "invalid_position", 400, "The position is not one of this channel",
        "A subscribe or history request with a position is refused.",
        "Positions are opaque and bound to their app and channel; this one was altered, or was given out for another.",
        "Send the position exactly as it was received on this channel, or none to start from now.";
    UnknownCommand = 4004, "unknown_command", 400, "No such command",
        "A frame with a command of that name is answered with this error; the connection goes on.",
        "A command object holds `id` and exactly one of the commands of the protocol.",
        "Use connect, refresh, subscribe, unsubscribe, publish, presence, history or ping.";
    MessageTooLarge = 4005, "message_too_large", 413, "The message is too large",
        "A publish, body or frame is refused; `limit` names the bound.",
        "Payload, name, key and headers together exceed the app's limit on message size, or a request exceeds the limit on bodies.",
        "Send less, or a reference to data kept elsewhere. The Limits page shows the bound.";
    NotFound = 4006, "not_found", 404, "Not found",
        "The resource does not exist, or is not yours.",
        "The id is wrong, the thing was deleted, or it belongs to somebody else: Fanfare does not say which.",
        "Check the id and the app in the URL.";
    MethodNotAllowed = 4007, "method_not_allowed", 405, "The method is not allowed here",
        "The URL exists, but not for this HTTP method.",
        "The `Allow` header of the answer lists what it takes.",
        "Use one of those methods.";
    UnsupportedMediaType = 4008, "unsupported_media_type", 415, "The body's type is not supported",
        "A request with a body is refused.",
        "Bodies are JSON and are sent with `Content-Type: application/json`.",
        "Set the header; `curl --json` does.";
    Forbidden = 4009, "forbidden", 403, "Not allowed",
        "An operation on a channel or resource is refused; `layer` says who refused, and `rule` which rule.",
        "The tenant is blocked, the key's or token's capabilities do not cover it, no ACL rule allows it, or one denies it.",
        "Widen the layer that is named: the key's capabilities, the token's `cap`, or the app's ACL.";
    OriginDenied = 4010, "origin_denied", 403, "The origin is not allowed",
        "A browser on that site cannot connect.",
        "The app lists the origins that may connect, and this one is not exactly among them.",
        "Add scheme, host and port of the site to the app's or key's origins.";
    SuspendedTenant = 4011, "tenant_suspended", 403, "The tenant is suspended",
        "Publishing, connecting or everything is refused.",
        "The operator of this platform has suspended the tenant.",
        "Ask the operator.";
    KeyInvalid = 4012, "key_invalid", 401, "The key is not valid",
        "REST calls are refused.",
        "The key is missing, misspelt, of another app, expired or revoked.",
        "Send `key_…:ffs_…` of this app by Basic (`curl -u`) or as a Bearer credential.";
    AlreadySubscribed = 4013, "already_subscribed", 409, "Already subscribed",
        "A subscribe is refused; the existing subscription goes on.",
        "The connection has a subscription to this channel.",
        "Unsubscribe first, or share the subscription in the client.";
    NotSubscribed = 4014, "not_subscribed", 409, "Not subscribed",
        "An unsubscribe is refused.",
        "The connection has no subscription to this channel.",
        "Nothing needs to be done.";
    IdReused = 4015, "id_reused", 409, "The id was used for something else",
        "A publish or request with an id is refused.",
        "The same message id, or `Idempotency-Key`, came before with a different content. Ids make retries safe, so one id stands for one content.",
        "Use a new id for new content.";
    ConnectFirst = 4016, "connect_first", 400, "The first command must be connect",
        "A command is refused and the connection closed.",
        "A connection starts with `connect`, with or without a token, within 5 seconds.",
        "Send {\"id\":1,\"connect\":{}} first.";
    ProtocolError = 4017, "protocol_error", 400, "The protocol was broken",
        "The connection is closed.",
        "A frame broke RFC 6455, was binary where text was agreed, or came fragmented beyond the bounds.",
        "Use a WebSocket library; report this if you do.";
    Conflict = 4018, "conflict", 409, "It conflicts with what is there",
        "A change is refused; `detail` says with what it conflicts.",
        "A name is taken, or the thing is not in a state that allows it.",
        "Read the current state and decide again.";
    PreconditionFailed = 4019, "precondition_failed", 412, "It was changed meanwhile",
        "A change with `If-Match` is refused.",
        "Somebody else changed the document after it was read.",
        "Read it again, repeat the change, and send the new ETag.";
    PreconditionRequired = 4020, "precondition_required", 428, "If-Match is required",
        "A change is refused.",
        "Documents that people edit are changed with the ETag that was read, so that nobody overwrites another unseen.",
        "Send the ETag of the last read as `If-Match`.";
    CsrfRefused = 4021, "csrf_refused", 403, "The request did not come from the dashboard",
        "A change with a session cookie is refused.",
        "Origin or Sec-Fetch-Site name another site, or the header `X-Fanfare-CSRF` is missing.",
        "Use the dashboard, or a key.";
    UnsupportedProtocol = 4022, "unsupported_protocol", 400, "No common protocol",
        "The WebSocket handshake is refused.",
        "The client offers only subprotocols that this server does not speak.",
        "Offer `fanfare.v1.json`, or none.";
    SignInFailed = 4023, "sign_in_failed", 401, "E-mail or password is wrong",
        "Signing in is refused.",
        "There is no such pair. Fanfare does not say which of both is wrong.",
        "Try again, or use a password manager.";
    WeakPassword = 4024, "weak_password", 400, "The password is too easy to guess",
        "Signing up is refused.",
        "It is shorter than 15 characters, or known from lists of common passwords, or holds your own address.",
        "Use a longer passphrase; any characters, up to 128.";
    SignUpRefused = 4025, "sign_up_refused", 409, "This address cannot sign up",
        "Signing up is refused.",
        "The address has an account already, or is of a kind that cannot be used.",
        "Sign in, or use another address.";
    NotAcceptable = 4026, "not_acceptable", 406, "No acceptable form",
        "A request is refused.",
        "The `Accept` header names no type that this endpoint answers with.",
        "Accept application/json.";
    NotPresent = 4027, "not_present", 409, "Not present",
        "An update or a leave of presence is refused.",
        "The connection has not entered the channel's presence, has left it, or a connection that resumed it has taken over.",
        "Enter first; to leave, nothing needs to be done.";
    PresenceOff = 4028, "presence_off", 409, "The channel has no presence",
        "Entering, reading presence, or a subscription with presence is refused, or members are taken out.",
        "The channel's settings switch presence off.",
        "Switch it on in the settings of the pattern that covers the channel, or use another channel.";
    Superseded = 4029, "superseded", 409, "The connection goes on elsewhere",
        "The connection is closed.",
        "Somebody connected with its resume ticket, usually the same client after its network changed: the newer one goes on.",
        "Nothing needs to be done. A client that sees it often shares one ticket among several tabs or processes: give each its own.";
    Unsubscribed = 4035, "unsubscribed", 409, "Unsubscribed by the app",
        "A subscription ended; the connection goes on.",
        "The app's backend asked for it.",
        "Nothing, unless the user asks for the channel again.";
    // 4100–4199: again later, waiting longer each time.
    RateLimited = 4100, "rate_limited", 429, "Too many at once",
        "A request or command is refused; `limit` names which limit, `retry_after_ms` when to come back.",
        "More came in a second than the limit allows.",
        "Wait as told. Spread or batch publishes; the Limits page shows use and bounds.";
    LimitReached = 4101, "limit_reached", 429, "A limit is reached",
        "Something new is refused; what is there goes on. `limit` names which limit.",
        "As many as allowed exist already: connections, subscriptions, keys.",
        "Close some, or have the limit raised.";
    SlowConsumer = 4102, "slow_consumer", 503, "The client reads too slowly",
        "The connection is closed.",
        "More bytes waited for this client than its budget.",
        "Reconnect from the last position; nothing that history keeps is lost. Subscribe to less, or handle messages faster.";
    Overloaded = 4103, "overloaded", 503, "The server is overloaded",
        "A request, command or connection is refused.",
        "The node sheds load so that what it accepted stays quick.",
        "Come back after `retry_after_ms`, waiting longer each time.";
    StorageUnavailable = 4104, "storage_unavailable", 503, "Storage is unavailable",
        "Publishing, or the dashboard, is refused; existing connections go on.",
        "The broker or the database cannot be reached just now. The message was certainly not accepted.",
        "Try again; with the same id a retry is safe.";
    OutcomeUnknown = 4105, "outcome_unknown", 504, "The outcome is unknown",
        "A publish was neither acknowledged nor refused.",
        "The broker did not answer in time. The message may or may not be there.",
        "Publish again with the same id: inside the window it is accepted once.";
    TryAgain = 4106, "try_again", 503, "The app is not known yet",
        "A connection or request for an app is refused for now.",
        "The node has just started and has not yet heard of this app.",
        "Come back shortly.";
    Internal = 4107, "internal", 500, "Something broke on our side",
        "A request fails.",
        "A defect of Fanfare. It is logged under the request id.",
        "Try again; report the request id if it stays.";
    IssuerUnavailable = 4109, "issuer_unavailable", 503, "The issuer's keys are not there yet",
        "Connecting or refreshing with a token of an issuer is refused for now.",
        "The issuer's keys are at a URL, and this node has not been able to fetch them yet, or not for a day.",
        "Come back, waiting longer each time. If it lasts, the issuer, as the control plane shows it, says what is wrong with the URL.";
    NotReplicated = 4110, "not_replicated", 503, "No second machine has the message",
        "A publish is not acknowledged, on a channel whose setting `durability` is `replicated`.",
        "No replica of Redis confirmed the message in time, or this platform has none. The message may be in the channel, and would be lost with the machine that has it.",
        "Publish again with the same id: it is accepted once, and acknowledged when a replica has it. If it lasts, whoever runs the platform has to bring a replica back; `durability` `memory` does without.";
    // 4200–4299: come back now.
    Moving = 4200, "moving", 503, "The node is going away",
        "The connection is closed, after its work was finished.",
        "The node restarts or is drained.",
        "Reconnect; another node continues from your positions.";
    HeartbeatTimeout = 4201, "heartbeat_timeout", 408, "Nothing was heard from the client",
        "The connection is closed.",
        "After `heartbeat_ms` of silence a ping was sent, and nothing came within `heartbeat_timeout_ms` after it.",
        "Reconnect; resume from the last position.";
    ConnectTimeout = 4202, "connect_timeout", 408, "The first command came too late",
        "The connection is closed.",
        "A connection starts with `connect` within 5 seconds.",
        "Reconnect and send connect at once.";
    Disconnected = 4203, "disconnected", 403, "Disconnected by the app",
        "The connection is closed.",
        "The app's backend or a member asked for it.",
        "Reconnect if you still may.";
    // 4400–4499: get a token and come back.
    TokenMissing = 4400, "token_missing", 401, "A token is needed",
        "Connecting is refused.",
        "The app allows nothing to anonymous clients.",
        "Have your backend sign a token with a key, and connect with it.";
    TokenInvalid = 4401, "token_invalid", 401, "The token is not valid",
        "Connecting or refreshing is refused; `detail` says what is wrong with it.",
        "Its form, algorithm, signature, key or claims are wrong, or it belongs to another app.",
        "Sign a new one; `fanfare token inspect` explains a token.";
    TokenExpired = 4402, "token_expired", 401, "The token has expired",
        "Connecting is refused, or the live connection is closed.",
        "`exp` lies in the past, allowing 60 seconds for clocks that differ.",
        "Get a new token and reconnect, or refresh in time on the live connection.";
    TokenRevoked = 4403, "token_revoked", 401, "The token was revoked",
        "The connection is closed, or connecting, refreshing or a request is refused.",
        "The app's backend revoked it, by its id, user, label or age; or the key that signed it was revoked or no longer may sign, or its issuer was disabled or deleted.",
        "Sign a new token, with a valid key, for whoever still may have one.";
    SessionExpired = 4404, "session_expired", 401, "You are signed out",
        "The dashboard asks to sign in.",
        "The session ended, was revoked, or was idle too long.",
        "Sign in again.";
    ResumeInvalid = 4405, "resume_invalid", 401, "The resume ticket does not hold",
        "Connecting with a ticket alone is refused; `detail` says why.",
        "Its token has expired, its key was revoked, it was altered, or it belongs to another app.",
        "Connect with a token, and subscribe with positions as before: no message is lost by it.";
}

impl ErrorCode {
    /// The code behind a slug.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == slug)
    }

    /// What a client should do, from the hundred of its number.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self.close() {
            4100..4200 => Retry::Backoff,
            4200..4300 => Retry::Now,
            4400..4500 => Retry::Token,
            _ => Retry::Never,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self.retry(), Retry::Backoff | Retry::Now)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_a_number_and_a_slug_of_its_own() {
        let numbers: HashSet<u16> = ErrorCode::ALL.iter().map(|code| code.close()).collect();
        let slugs: HashSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!((numbers.len(), slugs.len()), (ErrorCode::ALL.len(), ErrorCode::ALL.len()));
        for code in ErrorCode::ALL {
            assert!((4000..4500).contains(&code.close()) && !(4300..4400).contains(&code.close()), "{code}");
            assert!((400..600).contains(&code.status()), "{code}");
            assert_eq!(ErrorCode::from_slug(code.as_str()), Some(*code));
        }
    }
}
