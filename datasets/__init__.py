"""Images and labels of each data set. Images and labels are reached through separate loaders."""
