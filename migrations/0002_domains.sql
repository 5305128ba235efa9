-- Domains, the DNS records they need, and their signing keys.

create type domain_status as enum ('pending', 'active', 'failing');

create table domain (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    name text not null check (name = lower(name)), -- A-labels
    status domain_status not null default 'pending',
    ownership_token text not null, -- random; published in a TXT record to prove control
    verified_at timestamptz, -- when ownership was first proved
    return_path_label text not null default 'rp', -- <label>.<name> takes bounces
    sign boolean not null default true, -- DKIM-sign what leaves for this domain
    failing_since timestamptz,
    last_checked_at timestamptz,
    next_check_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    constraint domain_name_in_organization_key unique (organization_id, name),
    constraint domain_verified_shape check ((status = 'pending') = (verified_at is null))
);
-- Many may claim a name; one at most has proved it.
create unique index domain_verified_name_key on domain (name) where verified_at is not null;
create index domain_due_for_check on domain (next_check_at);

create type record_purpose as enum ('ownership', 'mx', 'spf', 'dkim', 'dmarc', 'return_path');
create type record_type as enum ('TXT', 'MX', 'CNAME');
create type record_status as enum ('ok', 'missing', 'wrong', 'unchecked');

-- What the last check of a wanted record found. What is wanted is worked out from the domain and its keys.
create table domain_record (
    domain_id uuid not null references domain on delete cascade,
    purpose record_purpose not null,
    type record_type not null,
    name text not null,
    status record_status not null,
    found text[] not null default '{}',
    checked_at timestamptz not null,
    primary key (domain_id, purpose, type, name)
);

create type dkim_algorithm as enum ('rsa-sha256', 'ed25519-sha256');
create type dkim_key_state as enum ('pending', 'active', 'retiring');

create table dkim_key (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    domain_id uuid not null references domain on delete cascade,
    selector text not null,
    algorithm dkim_algorithm not null,
    private_key bytea not null, -- PKCS#8 DER, sealed with AES-256-GCM under the instance secret
    public_key text not null, -- base64, as published in p=
    state dkim_key_state not null,
    created_at timestamptz not null default now(),
    constraint dkim_key_selector_key unique (domain_id, selector)
);
create unique index dkim_key_one_active on dkim_key (domain_id, algorithm) where state = 'active';

create type suppression_reason as enum ('hard_bounce', 'complaint', 'manual');

-- Addresses an organization must not write to.
create table suppression (
    id uuid not null,
    organization_id uuid not null references organization on delete cascade,
    address text not null check (address = lower(address)),
    reason suppression_reason not null,
    message_id uuid, -- what taught us
    created_at timestamptz not null default now(),
    primary key (organization_id, address)
);
