"""Methods whose belief is what a recurrent network remembers of a task's episodes, one after the other."""
