"""Campaigns on jobflow-remote: placement, execution and progress of jobs.

This module imports nothing: a worker starts :mod:`logan_campaign.flows.remote.execute` once per
job, which must be cheap.
"""
