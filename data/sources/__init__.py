"""Where labelled images come from: data sets with names, and the user's own."""
