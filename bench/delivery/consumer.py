"""What a careful engineer writes by hand: librdkafka, COPY, offsets in the rows' own transaction.

consumer.py BROKERS TOPIC DATABASE_URL: reads the topic to its end into kpipe.events and ends.
"""
import sys
from datetime import datetime, timezone

import orjson
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

brokers, topic, database = sys.argv[1:]
COLUMNS = "time, kafka_timestamp, kafka_offset, partition, source, id, type, topic, data"
COPY = f"copy kpipe.events ({COLUMNS}) from stdin"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def line(message):
    event = orjson.loads(message.value())
    for name in ("id", "source", "type", "time"):
        if not isinstance(event[name], str):
            raise ValueError(name)
    return "\t".join((
        event["time"],
        datetime.fromtimestamp(message.timestamp()[1] / 1000, timezone.utc).isoformat(),
        str(message.offset()),
        str(message.partition()),
        event["source"].translate(ESCAPES),
        event["id"].translate(ESCAPES),
        event["type"].translate(ESCAPES),
        topic,
        orjson.dumps(event["data"]).decode().translate(ESCAPES),
    ))


def store(connection, messages):
    block = "\n".join(map(line, messages)) + "\n"
    ends = {}
    for message in messages:
        ends[message.partition()] = message.offset() + 1
    with connection.transaction():
        for partition, end in ends.items():
            connection.execute(
                "insert into bench_offset values (%s, %s) on conflict (partition) do update set next_offset = excluded.next_offset",
                (partition, end),
            )
        try:
            with connection.transaction(), connection.cursor().copy(COPY) as copy:
                copy.write(block)
        except psycopg.errors.UniqueViolation:
            connection.execute(f"create temporary table staging on commit drop as select {COLUMNS} from kpipe.events with no data")
            with connection.cursor().copy(COPY.replace("kpipe.events", "staging")) as copy:
                copy.write(block)
            connection.execute(f"insert into kpipe.events ({COLUMNS}) select {COLUMNS} from staging on conflict do nothing")


def main():
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "bench-python",
        "enable.auto.commit": False,
        "enable.partition.eof": False,
        "queued.max.messages.kbytes": 65536,
    })
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    left = {p: end for p, end in ends.items() if end > 0}
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table bench_offset (partition int primary key, next_offset bigint not null)")
        while left:
            messages = [m for m in consumer.consume(5000, 0.2) if m.error() is None]
            if not messages:
                continue
            store(connection, messages)
            for message in messages:
                if message.offset() + 1 >= left.get(message.partition(), 1 << 62):
                    left.pop(message.partition(), None)
    consumer.close()


main()
