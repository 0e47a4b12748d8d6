"""The four operations on a whole clip, and the measures of what they did."""
