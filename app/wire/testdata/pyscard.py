"""pyscard.py READER COMMAND...: sends the commands, in hex, to the card in the reader.

Prints how many were answered and the nanoseconds from the first command to the last
answer. With no arguments it only tells whether pyscard is installed.
"""
import sys
import time

from smartcard.System import readers
from smartcard.util import toBytes

if len(sys.argv) > 1:
    connection = next(r for r in readers() if str(r) == sys.argv[1]).createConnection()
    connection.connect()
    commands = [toBytes(each) for each in sys.argv[2:]]
    began = time.perf_counter_ns()
    answers = [connection.transmit(each) for each in commands]
    took = time.perf_counter_ns() - began
    connection.disconnect()
    print(len(answers), took)
