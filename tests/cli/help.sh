# every help text comes from the tables
t
t help
t --version
for command in run pass inspect lint infer eval list help; do t help $command; done
t inspect --help
t pass prune --help
t help prune
t help exit-codes
t help recipe
t help nonsense
t list passes
t list formats
t list pases
q list ops
