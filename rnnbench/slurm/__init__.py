"""A run by Slurm's jobs: the submitting side splits it into parts, and each job measures one like a local run.

    job.py    what a job does: a local run of its part, into files of its own
    queue.py  Slurm's commands: what a job requests, submit it, ask for the states of jobs, cancel them
    sweep.py  the submitting side: parts, their jobs until all have ended, and the run.json of the whole run

A part's own files hold its state; Slurm is asked only whether a job, which bears the name of its part, is still at work
on it. So whatever happens to the submitting side, the controller or a node, resuming means to look at both and submit
what is missing.
"""
