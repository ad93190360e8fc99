"""The poison test: secret values go through everything that can fail, and are looked for wherever they may end.

`markers` says what is looked for. `spread` sends it through the paths in `agents`, `backends`, `operators`,
`deliveries` and `followed_logs`. `world`, `listening` and `stores` find it in what leaves and in what is stored.
`test_poison` does all of this in one process, in which it can take each mask away; `test_installation` does it with the
real processes of `make up`, which `broken_app` lets fail.
"""
