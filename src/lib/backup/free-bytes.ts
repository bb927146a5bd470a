import { statfs } from 'node:fs/promises';

/** What is left for this user where the directory is. */
export async function freeBytesAt(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
