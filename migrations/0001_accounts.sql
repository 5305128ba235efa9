-- Who may use the instance: organizations, their people, and the secrets by which programs speak for them.
-- Ids are UUIDv7 (time-ordered); the API shows them with a typed prefix. Secrets are stored only as keyed hashes
-- (HMAC-SHA-256 under the instance secret) or, for human passwords, as argon2id.

create table organization (
    id uuid primary key,
    name text not null check (length(name) between 1 and 200),
    suspended_at timestamptz, -- set: credentials and keys are refused with a temporary answer
    content_retention interval not null default interval '7 days', -- how long a finished message's body is kept
    history_retention interval not null default interval '90 days', -- how long its rows are kept
    created_at timestamptz not null default now()
);

-- A person. Belongs to organizations by membership.
create table app_user (
    id uuid primary key,
    email text not null check (email = lower(email)),
    password_hash text not null, -- argon2id in PHC format
    name text not null default '',
    instance_admin boolean not null default false,
    created_at timestamptz not null default now(),
    last_login_at timestamptz,
    constraint app_user_email_key unique (email)
);

create type member_role as enum ('owner', 'admin', 'member', 'viewer');

create table membership (
    organization_id uuid not null references organization on delete cascade,
    user_id uuid not null references app_user on delete cascade,
    role member_role not null,
    created_at timestamptz not null default now(),
    primary key (organization_id, user_id)
);
create index membership_by_user on membership (user_id);

-- A dashboard login. The cookie holds a random token; only its SHA-256 is here.
create table session (
    id uuid primary key,
    user_id uuid not null references app_user on delete cascade,
    token_hash bytea not null,
    csrf_token text not null, -- a write by cookie must echo it in X-CSRF-Token
    address inet,
    user_agent text not null default '',
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint session_token_key unique (token_hash)
);
create index session_by_user on session (user_id);

-- A program's access to the HTTP API.
create table api_key (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    name text not null check (length(name) between 1 and 200),
    prefix text not null, -- public part: finds the row, may be shown
    secret_hash bytea not null, -- HMAC-SHA-256 of the whole key
    scopes text[] not null check (cardinality(scopes) > 0),
    networks cidr[] not null default '{}', -- empty: from anywhere
    domains text[] not null default '{}', -- empty: every domain of the organization
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    constraint api_key_prefix_key unique (prefix)
);
create index api_key_by_organization on api_key (organization_id, id desc);

create type smtp_credential_type as enum ('password', 'network');

-- A program's access to port 1025: a username and password, or a network that needs none.
create table smtp_credential (
    id uuid primary key,
    organization_id uuid not null references organization on delete cascade,
    name text not null check (length(name) between 1 and 200),
    type smtp_credential_type not null,
    username text not null,
    secret_hash bytea, -- HMAC-SHA-256 of the password
    networks cidr[] not null default '{}', -- password: empty is anywhere; network: the peers it admits
    allowed_from text[] not null default '{}', -- addresses or @domains; empty: every domain of the organization
    stream text not null default 'transactional',
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    constraint smtp_credential_username_key unique (username),
    constraint smtp_credential_shape check (
        case type
            when 'password' then secret_hash is not null
            else secret_hash is null and cardinality(networks) > 0
        end
    )
);
create index smtp_credential_by_organization on smtp_credential (organization_id, id desc);

-- An answered POST with an Idempotency-Key. It commits with the effect it answers.
create table idempotency_record (
    organization_id uuid not null,
    route text not null, -- 'POST /messages', or 'smtp'
    key text not null check (length(key) between 1 and 256),
    request_hash bytea not null, -- SHA-256 of the request body
    status smallint, -- HTTP status of the stored answer
    response jsonb,
    message_id uuid, -- for a send: what it made
    created_at timestamptz not null default now(),
    primary key (organization_id, route, key),
    check ((status is null) = (response is null))
);
create index idempotency_record_by_age on idempotency_record (created_at);

-- Facts about the instance itself that must outlive a process, such as the check value of the secret key.
create table instance_setting (
    name text primary key,
    value text not null,
    updated_at timestamptz not null default now()
);
