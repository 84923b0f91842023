"""Evaluation protocols: named YAML files, each a view and a scoring, resolved for one data set at planning.

A protocol is data. Besides those in this folder a grid may name the path of a YAML file, or hold a mapping. Its keys:

* ``name``, ``note``: its name in tables, and one line about it.
* ``extends``: another protocol whose keys it takes over, except where it states its own.
* ``view``: the keys of ``results.specification.View`` apart from ``dataset``. ``size: evaluation`` stands for the data
  set's evaluation size; ``short_side``, ``window`` and ``stride`` may say ``dataset``: what the paper uses for it.
* ``scoring``: the keys of ``results.specification.Scoring``. ``fit_split: train`` fits the matching on another split.
* ``clusters``: ``any``, or ``classes`` where the number of clusters must be the number of classes.
* ``datasets``: data set -> ``view`` and ``scoring`` that replace the common ones, key by key.
"""
