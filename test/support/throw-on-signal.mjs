// For a process whose crash a test looks at: throws where nothing catches it.
process.on('SIGUSR2', () => {
  throw new Error('thrown by the test');
});
