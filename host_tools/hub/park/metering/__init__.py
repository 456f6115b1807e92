"""What people say of the park's meters, each time as a signed statement in the hub's log.

meters      which meter stands behind which, so that no energy counts twice
register    which meter it is, who calibrated it and until when that holds; what to say of its readings
"""
