/** Whether whoever looks for a fault in kpipe itself wants stacks and warnings: `DEBUG=kpipe:*`. */
export function isDebugging(env: Readonly<Record<string, string | undefined>>): boolean {
  return /(^|,)kpipe/.test(env['DEBUG'] ?? '');
}
