"""A run by Slurm's jobs: the submitting side splits it into parts, and each job measures one as a local run would.

    parts.py    what a part is, and how groups are dealt out
    job.py      what a job does: a local run of its part, into files of its own
    queue.py    Slurm's commands: what jobs are at, to submit and to cancel them
    options.py  what a job asks of Slurm
    jobs.py     which job has which part, and what became of the ones before
    sweep.py    the submitting side, from start to end

The state of a part is what its own files say; Slurm is asked only whether somebody is still at work on it. So whatever
happens to the submitting side, the controller or a node, going on means to look at both and submit what is missing.
"""
