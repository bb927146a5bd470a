/** The help of kpipe ('') and of every topic and command (`topics plan`); headings are bold where this process shows colour. */
export declare function renderHelp(root: string): Promise<Record<string, string>>;
