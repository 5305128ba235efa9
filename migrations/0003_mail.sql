-- A message's rows. `message`, `content`, `delivery`, `attempt` and `event` are history: partitioned by UUIDv7, hence by
-- time, one partition a month, dropped whole when old. `queue` and `lane` are the work still to do: narrow, unpartitioned.
--
-- The rows of one message are written together by one statement (store::acceptance) that holds no foreign-key checks: the same
-- statement makes parent and child, and a check per child row was a measurable share of a message's cost (docs/adr/0003).

create type message_direction as enum ('outbound', 'inbound', 'forward', 'reply', 'bounce');
create type message_via as enum ('smtp', 'api', 'internal');

create table message (
    organization_id uuid not null,
    id uuid not null, -- UUIDv7
    direction message_direction not null,
    via message_via not null,
    credential_id uuid, -- SMTP credential or API key that brought it
    domain_id uuid, -- the verified domain it is sent as; null in capture mode for a domain nobody owns
    parent_id uuid, -- the message this one reports on or continues
    envelope_sender text not null, -- '' is the null reverse-path
    header_from text not null,
    subject text not null,
    message_id_header text not null,
    size_bytes integer not null,
    eight_bit boolean not null, -- the body holds octets above 127
    smtputf8 boolean not null, -- the envelope or header needs SMTPUTF8
    stream text not null,
    tags text[] not null default '{}',
    metadata jsonb not null default '{}',
    dsn_envid text, -- RFC 3461 ENVID, decoded
    dsn_headers_only boolean not null default false, -- RET=HDRS
    trace_context text, -- W3C traceparent of the session that brought it
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    primary key (organization_id, id)
) partition by range (id);

-- The raw message, as it will leave (but for the DKIM signature). Kept apart so that its retention can be shorter.
create table content (
    message_id uuid not null,
    raw bytea not null,
    primary key (message_id)
) partition by range (message_id);
alter table content alter column raw set storage external; -- uncompressed: compressing costs more than writing

create type delivery_status as enum (
    'queued', 'scheduled', 'held', 'deferred', 'delivered', 'bounced', 'failed', 'expired', 'complained',
    'suppressed', 'canceled', 'blocked', 'quarantined', 'discarded'
);
create type recipient_kind as enum ('envelope', 'to', 'cc', 'bcc');

-- One recipient of one message: where it stands.
create table delivery (
    message_id uuid not null,
    number integer not null, -- 0, 1, … within the message
    organization_id uuid not null,
    recipient text not null, -- as it will be dialled
    recipient_folded text not null, -- lower-cased, for look-ups
    kind recipient_kind not null,
    status delivery_status not null,
    destination smallint not null, -- recipients of one destination share a transaction, hence a return path
    attempts integer not null default 0,
    enhanced_code text,
    reason text,
    dsn_notify smallint, -- RFC 3461 NOTIFY: bits 1 never, 2 success, 4 failure, 8 delay; null: not given
    dsn_orcpt text, -- RFC 3461 ORCPT, decoded
    finished_at timestamptz,
    primary key (message_id, number),
    check ((finished_at is null) = (status in ('queued', 'scheduled', 'held', 'deferred')))
) partition by range (message_id);
create index delivery_by_recipient on delivery (organization_id, recipient_folded, message_id);

create type attempt_outcome as enum ('delivered', 'deferred', 'bounced', 'failed', 'in_doubt');

-- One try of one transaction; recipients with the same answer share a row. Append-only.
create table attempt (
    message_id uuid not null,
    id uuid not null,
    organization_id uuid not null,
    started_at timestamptz not null,
    duration_ms integer not null,
    host text,
    address text,
    tls text, -- version and cipher suite; null: in clear
    outcome attempt_outcome not null,
    code smallint,
    enhanced_code text,
    response text,
    recipients text[] not null,
    transcript text not null,
    primary key (message_id, id)
) partition by range (message_id);

-- What happened. Append-only; feeds timelines and webhooks.
create table event (
    organization_id uuid not null,
    id uuid not null, -- UUIDv7
    type text not null, -- 'message.delivered', …
    message_id uuid,
    recipient text,
    data jsonb not null default '{}',
    at timestamptz not null default now(),
    primary key (organization_id, id)
) partition by range (id);
create index event_by_message on event (message_id, id);

-- One organization's mail of one stream for one destination. Never deleted while the queue names it.
create table lane (
    id bigint generated always as identity primary key,
    organization_id uuid not null references organization on delete cascade,
    stream text not null,
    destination text not null, -- recipient domain, A-labels
    paused_until timestamptz, -- set while the destination is down or held back
    pause_reason text,
    created_at timestamptz not null default now(),
    constraint lane_key unique (organization_id, stream, destination)
);

-- A delivery that is not finished. The index holds the claimed rows too, so that a claim changes no indexed column (a HOT update).
create table queue (
    message_id uuid not null,
    number integer not null,
    organization_id uuid not null,
    lane_id bigint not null,
    due_at timestamptz not null,
    expires_at timestamptz not null,
    attempts integer not null default 0, -- booked by the claim, before dialling
    lost integer not null default 0, -- workers that ended while holding it, since the last outcome
    held boolean not null default false,
    worker_id uuid, -- the incarnation that holds it
    token uuid, -- the outcome must present it
    claimed_at timestamptz,
    primary key (message_id, number),
    constraint queue_claim_shape check (num_nonnulls(worker_id, token, claimed_at) in (0, 3))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index queue_due on queue (lane_id, due_at);

-- A running worker. Dead when it has not renewed for 20 seconds on this clock; its claims then go back to the queue.
create table worker_incarnation (
    id uuid primary key,
    host text not null,
    started_at timestamptz not null default now(),
    renewed_at timestamptz not null default now()
);

-- Messages whose SMTP sender is owed a report of failed recipients (RFC 3464). Written with the failure, taken with the report.
create table report_owed (
    message_id uuid primary key,
    organization_id uuid not null,
    since timestamptz not null default now()
);
alter table delivery add column reported_at timestamptz; -- when its failure was reported to the sender

-- UUIDv7 bound: the smallest id of that moment.
create function uuid_at(moment timestamptz) returns uuid language sql immutable strict parallel safe as $$
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$$;

-- A UUIDv7 for rows that SQL itself makes (PostgreSQL has its own from 18 on).
create function new_uuid() returns uuid language sql volatile parallel safe as $$
    select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- Makes the monthly partitions of every history table from this month to `months` ahead. Idempotent. Months, not weeks: every statement that
-- touches a history table pays for each partition it cannot rule out (docs/adr/0003).
create function ensure_partitions(months integer) returns integer language plpgsql as $$
declare
    parent text;
    month timestamptz;
    made integer := 0;
    child text;
begin
    perform pg_advisory_xact_lock(hashtext('postroad.ensure_partitions'));
    for ahead in 0..months loop
        month := (date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead)) at time zone 'utc';
        foreach parent in array array['message', 'content', 'delivery', 'attempt', 'event'] loop
            child := parent || '_' || to_char(month at time zone 'utc', 'YYYY"m"MM');
            if to_regclass(child) is null then
                execute format('create table %I partition of %I for values from (%L) to (%L)',
                    child, parent, uuid_at(month), uuid_at((month at time zone 'utc' + interval '1 month') at time zone 'utc'));
                if parent = 'delivery' then
                    execute format('alter table %I set (fillfactor = 85)', child); -- room for the outcome beside the row
                end if;
                made := made + 1;
            end if;
        end loop;
    end loop;
    return made;
end
$$;

-- Drops whole months that are past the longest retention of any organization and hold no unfinished message. Gives their names.
create function drop_old_partitions() returns setof text language plpgsql as $$
declare
    keep interval := coalesce((select max(history_retention) from organization), interval '90 days');
    name text;
    month timestamp;
begin
    for name in
        select substring(c.relname from 'message_(\d{4}m\d{2})$') from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'message'::regclass and c.relname ~ '^message_\d{4}m\d{2}$' order by 1
    loop
        month := to_date(name, 'YYYY"m"MM');
        exit when (month + interval '1 month') at time zone 'utc' > now() - keep;
        continue when exists (select from queue q
            where q.message_id >= uuid_at(month at time zone 'utc') and q.message_id < uuid_at((month + interval '1 month') at time zone 'utc'));
        execute format('drop table %I, %I, %I, %I, %I', 'message_' || name, 'content_' || name, 'delivery_' || name, 'attempt_' || name, 'event_' || name);
        return next name;
    end loop;
end
$$;

-- What falls outside every month is still taken: a clock that is wrong must not stop the mail.
create table message_other partition of message default;
create table content_other partition of content default;
create table delivery_other partition of delivery default;
create table attempt_other partition of attempt default;
create table event_other partition of event default;
select ensure_partitions(1);
