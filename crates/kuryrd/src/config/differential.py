"""Reads cases of configuration files with oslo.config; prints what each option comes to."""

import json
import os
import sys
import tempfile

from oslo_config import cfg

KINDS = {
    "Text": cfg.StrOpt,
    "Secret": cfg.StrOpt,
    "Flag": cfg.BoolOpt,
    "Integer": cfg.IntOpt,
    "List": cfg.ListOpt,
}


def declare(conf, options):
    for group, name, kind, default, formerly in options:
        if default is not None and kind == "List":
            default = default.split(",")
        elif default is not None and kind in ("Flag", "Integer"):
            default = KINDS[kind](name).type(default)
        option = KINDS[kind](
            name,
            default=default,
            deprecated_opts=[cfg.DeprecatedOpt(old) for old in formerly],
        )
        conf.register_opt(option, group=None if group == "DEFAULT" else group)


def value(conf, group, name, kind, default):
    try:
        section = conf if group == "DEFAULT" else conf[group]
        value = getattr(section, name)
    except Exception:
        return "!"
    if kind == "Integer" and value is None:
        return int(default)
    return value


def read(options, files, folder):
    paths = []
    for number, text in enumerate(files):
        path = os.path.join(folder, f"{number}.conf")
        with open(path, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        paths += ["--config-file", path]
    conf = cfg.ConfigOpts()
    declare(conf, options)
    try:
        conf(paths, project="kuryr", default_config_dirs=[])
    except cfg.ConfigFileParseError:
        return None
    return {
        f"{group}.{name}": value(conf, group, name, kind, default)
        for group, name, kind, default, _ in options
    }


def main():
    question = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        answers = [read(question["options"], files, folder) for files in question["cases"]]
    json.dump(answers, sys.stdout)


main()
