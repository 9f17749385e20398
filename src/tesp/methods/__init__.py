"""How experience with a task changes what is believed about it, and how much is learned from many tasks."""
