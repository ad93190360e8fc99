"""The poison test: secret values go through everything that can fail, and are looked for wherever they may end.

`markers` says what is looked for. `spread` sends it through the paths in `agents`, `backends`, `operators`,
`deliveries` and `followed_logs`. `world`, `listening` and `stores` find it in what leaves and in what is stored.
"""
