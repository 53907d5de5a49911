"""Reports as folders of HTML: which sections a page has, and where it is written."""
