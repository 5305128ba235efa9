-- The way in: aliases, the destinations they forward to, the rules in between, and replies as the alias.

create type alias_state as enum ('active', 'paused');
create type replies_as as enum ('direct', 'as_alias');

-- An address of a domain that forwards. A deleted one stays, so that nobody else can take it over.
create table alias (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    domain_id uuid not null references domain on delete cascade,
    local_part text not null check (local_part = lower(local_part) and length(local_part) between 1 and 64), -- '*' in a pattern stands for anything
    pattern boolean not null default false,
    state alias_state not null default 'active',
    replies replies_as not null default 'direct',
    description text not null default '' check (length(description) <= 1000),
    expires_at timestamptz, -- refuses from then on
    max_messages integer check (max_messages > 0), -- refuses after so many
    message_count integer not null default 0, -- accepted, counted in the accepting transaction
    last_message_at timestamptz,
    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint alias_address_key unique (domain_id, local_part)
);
create index alias_by_organization on alias (organization_id, id desc);
create index alias_patterns on alias (domain_id) where pattern and deleted_at is null;

create type destination_kind as enum ('mailbox', 'endpoint');

-- Where mail for aliases goes on to: a private mailbox, or an HTTP endpoint.
create table destination (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    kind destination_kind not null,
    address text not null, -- the mailbox, or the URL
    address_folded text not null,
    verified_at timestamptz, -- confirmed by mail, or needing no confirmation
    verification_hash bytea, -- SHA-256 of the token in the confirmation mail
    verification_sent_at timestamptz,
    signing_secret bytea, -- endpoint: sealed; signs what is posted (Standard Webhooks)
    failing_since timestamptz, -- hard failures in a row
    failures integer not null default 0,
    created_at timestamptz not null default now(),
    constraint destination_address_key unique (organization_id, address_folded)
);

create table alias_destination (
    alias_id uuid not null references alias on delete cascade,
    destination_id uuid not null references destination on delete cascade,
    position smallint not null,
    primary key (alias_id, destination_id)
);
create index alias_destination_by_destination on alias_destination (destination_id);

create type dmarc_failure as enum ('as_published', 'accept', 'quarantine', 'refuse');

alter table domain
    add column subaddressing boolean not null default true, -- local+tag is local
    add column paused_reply text, -- instead of the standard refusal of a paused alias
    add column dmarc_fail dmarc_failure not null default 'as_published';

-- Takes what no alias of the domain does.
create table catch_all_destination (
    domain_id uuid not null references domain on delete cascade,
    destination_id uuid not null references destination on delete cascade,
    position smallint not null,
    primary key (domain_id, destination_id)
);

-- Decides about mail for one alias, one domain or the whole organization. The first that matches wins; see crates/rules.
create table rule (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    domain_id uuid references domain on delete cascade, -- scope; neither: the organization
    alias_id uuid references alias on delete cascade,
    name text not null check (length(name) between 1 and 200),
    position integer not null,
    enabled boolean not null default true,
    definition jsonb not null, -- match, conditions, action as the API takes them
    match_count bigint not null default 0,
    last_matched_at timestamptz,
    created_at timestamptz not null default now(),
    check (num_nonnulls(domain_id, alias_id) <= 1)
);
create index rule_by_organization on rule (organization_id, position, id);

create type sender_listing as enum ('allow', 'deny');

create table sender_list_entry (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    domain_id uuid references domain on delete cascade,
    alias_id uuid references alias on delete cascade,
    listing sender_listing not null,
    sender text not null check (sender = lower(sender)), -- a@b.example, @b.example or *.b.example
    created_at timestamptz not null default now(),
    check (num_nonnulls(domain_id, alias_id) <= 1),
    constraint sender_list_entry_key unique nulls not distinct (organization_id, domain_id, alias_id, sender)
);

-- A correspondent of an alias, and the reverse address: what the alias's destination writes to so that mail leaves as the alias.
create table contact (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    alias_id uuid not null references alias on delete cascade,
    domain_id uuid not null references domain on delete cascade,
    address text not null, -- the correspondent
    address_folded text not null,
    display_name text not null default '',
    reverse_local_part text not null check (reverse_local_part = lower(reverse_local_part)),
    created_at timestamptz not null default now(),
    constraint contact_address_key unique (alias_id, address_folded),
    constraint contact_reverse_key unique (domain_id, reverse_local_part)
);

-- What is known of a message that came in.
alter table message
    add column original_recipient text, -- the alias it came for
    add column alias_id uuid,
    add column rule_id uuid, -- the rule that decided
    add column verdicts jsonb, -- SPF, DKIM and DMARC, as verified once
    add column rewrite_from text; -- From on the way out, when forwarding would break DMARC or replies go as the alias

-- The destination that a delivery of a forwarded message goes to.
alter table delivery add column destination_id uuid;

