"""A run by Slurm's jobs: the submitting side splits it into parts, and each job measures one like a local run.

    parts.py    what a part is, and how groups are dealt out
    job.py      what a job does: a local run of its part, into files of its own
    queue.py    Slurm's commands: submit jobs, ask for their states, cancel them
    options.py  what a job requests from Slurm
    jobs.py     which job has which part, and what became of the ones before
    watch.py    waits for jobs, and submits what has none
    progress.py how far the jobs are
    outcome.py  the run.json of the whole run
    sweep.py    the submitting side, from start to end

A part's own files hold its state; Slurm is asked only whether a job is still at work on it. So whatever happens to the
submitting side, the controller or a node, resuming means to look at both and submit what is missing.
"""
