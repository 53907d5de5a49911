"""The machine below torch: its cores, temporary folders, git, and the settings of torch and of the process."""
