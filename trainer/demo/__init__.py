"""`python -m trainer.demo`: train a tiny model on rendered heads, then measure whether it follows its driver.

- `footage`: the heads and their data set; `measure`: errors, compared with baselines; `summary`: JSON and Markdown
- the two configs are `trainer/configs/demo-image.yaml` and `demo-video.yaml`
"""
