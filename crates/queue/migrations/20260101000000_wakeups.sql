-- What our way of working asks of apalis' table, on top of apalis' own migrations.

-- The fetch: due rows of one queue in order of run_at. apalis' own index has `priority` before `run_at`, so that every
-- fetch would walk over all rows that are scheduled for later.
create index unread_jobs_due on apalis.jobs (job_type, run_at) where status = 'Pending';

-- Rows that somebody works on: rescue and audit.
create index unread_jobs_held on apalis.jobs (lock_by, job_type) where lock_by is not null;

-- Dead letters: few, and counted at every scrape.
create index unread_jobs_dead on apalis.jobs (job_type) where status = 'Killed';

-- Indexes that nothing uses any more, or that exist twice. Each of them costs every job three writes.
drop index if exists apalis.idx_apalis_jobs_fetch_partial;
drop index if exists apalis.idx_apalis_jobs_lock_by;
drop index if exists apalis.lidx;
drop index if exists apalis.unique_job_id;

-- A look-up and a lock in apalis.workers for each row that is fetched, an eighth of what the fetch costs. Rows of a worker that has no row
-- there are rescued like those of one that is lost.
alter table apalis.jobs drop constraint if exists fk_worker_lock_by;

-- apalis notifies once per row and judges "due" by the server's clock. PostgreSQL commits notifying transactions one at
-- a time, so this costs bulk inserts a third of their speed; `schedule` notifies once per call instead, and only if needed.
drop trigger if exists notify_workers on apalis.jobs;

-- A queue is small and changes all the time: the defaults (a fifth of the table) would let dead rows pile up at the
-- front of the index that every fetch starts from.
alter table apalis.jobs set (
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_threshold = 500,
    autovacuum_analyze_scale_factor = 0.05
);
