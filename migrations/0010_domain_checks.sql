-- A domain that worked is called failing only after several scheduled checks in a row found a required record gone: one bad
-- answer of somebody's name server must not stop a customer's mail.

alter table domain add column failing_checks smallint not null default 0 check (failing_checks >= 0);
comment on column domain.failing_checks is 'checks in a row that found a required record missing or wrong; 0 after a good one';
