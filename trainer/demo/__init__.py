"""`python -m trainer.demo`: train a tiny model on heads made by code, then measure whether it follows its driver.

- `footage`: the heads and their data set; `settings`: the two configs; `measure`: errors against what must be beaten
- `summary`: JSON, markdown and video of the result
"""
