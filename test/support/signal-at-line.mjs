// For a process that is to be interrupted or killed at a line of its own: sends itself KPIPE_TEST_SIGNAL when it has written
// what KPIPE_TEST_SIGNAL_AT matches, once. A test that sends the signal when it has read the line may come too late.
const { KPIPE_TEST_SIGNAL: signal, KPIPE_TEST_SIGNAL_AT: at = '' } = process.env;
const pattern = new RegExp(at);
let sent = false;
for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write.bind(stream);
  stream.write = (chunk, ...rest) => {
    const more = write(chunk, ...rest);
    if (!sent && pattern.test(String(chunk))) {
      sent = true;
      process.kill(process.pid, signal);
    }
    return more;
  };
}
