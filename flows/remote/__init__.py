"""Campaigns on jobflow-remote: where jobs run, what runs them, how far they are.

Nothing is imported here: a worker starts :mod:`logan_campaign.flows.remote.execute` once per
job, and that must be cheap.
"""
