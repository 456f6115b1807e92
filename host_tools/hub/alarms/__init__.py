"""Alarms: what is wrong in the park, one alarm for each cause, told to people.

causes     what is wrong now, from the state of the hub (pure)
rules      which causes become alarms, which are one alarm, when an alarm ends (pure)
limits     limits that people set on channels
ledger     alarms and messages in the database
addresses  who gets messages, from a file in the hub's data
send       messages by apprise and MQTT, with retries
watch      the thread of the running hub that does all this
"""
