import { useApp, useInput, useStdin } from 'ink';

/** What keys do on a screen. Everything that all screens share is done by the hook. */
export interface ScreenKeys {
  readonly togglePause: () => void;
  readonly changeInterval: (direction: 1 | -1) => void;
  /** ↑↓, j and k, page up and down, home and end: so many rows. */
  readonly move: (by: number) => void;
  readonly open: () => void;
  readonly back: () => void;
  readonly help: () => void;
  /** Any other character. */
  readonly press: (character: string) => void;
  /** While a text is typed, characters are part of it. */
  readonly typing?: {
    readonly isOn: () => boolean;
    readonly type: (character: string) => void;
    readonly erase: () => void;
    readonly accept: () => void;
  };
}

const page = 10;
/** Beyond any list. */
const far = 1_000_000;

/** Ends the screen by `q` and Ctrl-C (`quit`, `interrupted`), and hands every other key on. */
export function useScreenKeys(keys: ScreenKeys): void {
  const { exit } = useApp();
  const { isRawModeSupported } = useStdin();
  const typing = (): ScreenKeys['typing'] => (keys.typing?.isOn() === true ? keys.typing : undefined);

  const enter = (): void => (typing()?.accept ?? keys.open)();
  const erase = (): void => (typing()?.erase ?? keys.back)();
  const press = (character: string): void => {
    // Within a text that arrives at once, Enter and Backspace are characters.
    if (character === '\r' || character === '\n') {
      return enter();
    }
    if (character === '\u007f' || character === '\b') {
      return erase();
    }
    const text = typing();
    if (text !== undefined) {
      return character < ' ' ? undefined : text.type(character);
    }
    switch (character) {
      case 'q':
        return exit('quit');
      case 'p':
        return keys.togglePause();
      case '+':
      case '-':
        return keys.changeInterval(character === '+' ? 1 : -1);
      case '?':
        return keys.help();
      case 'j':
      case 'k':
        return keys.move(character === 'j' ? 1 : -1);
      default:
        return keys.press(character);
    }
  };

  useInput(
    (input, key) => {
      const step = stepOf(key);
      if (key.ctrl && input === 'c') {
        exit('interrupted');
      } else if (step !== 0) {
        keys.move(step);
      } else if (key.return) {
        enter();
      } else if (key.backspace || key.delete) {
        erase();
      } else if (key.escape) {
        keys.back();
      } else if (!key.ctrl && !key.meta) {
        // Several keys in one input each count.
        input.split('').forEach(press);
      }
    },
    { isActive: isRawModeSupported },
  );
}

interface Arrows {
  readonly upArrow: boolean;
  readonly downArrow: boolean;
  readonly pageUp: boolean;
  readonly pageDown: boolean;
  readonly home: boolean;
  readonly end: boolean;
}

function stepOf({ upArrow, downArrow, pageUp, pageDown, home, end }: Arrows): number {
  const steps: readonly (readonly [boolean, number])[] = [
    [upArrow, -1],
    [downArrow, 1],
    [pageUp, -page],
    [pageDown, page],
    [home, -far],
    [end, far],
  ];
  return steps.find(([pressed]) => pressed)?.[1] ?? 0;
}
