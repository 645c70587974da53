-- What scheduled a job belongs to a trace (W3C Trace Context), and so does the job.
alter table apalis.jobs add column traceparent text;
