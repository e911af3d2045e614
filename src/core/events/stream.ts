/** The events of a machine as an RxJS stream. */
import { Observable } from 'rxjs';
import type { EventBus } from './bus.ts';
import type { SimEvent } from './types.ts';

/** Every record from the moment of subscribing on. Whoever subscribes listens; nobody else does. */
export function eventStream(bus: EventBus): Observable<SimEvent> {
  return new Observable<SimEvent>((subscriber) => {
    const listener = (event: SimEvent): void => subscriber.next(event);
    bus.on('*', listener);
    return () => {
      bus.off('*', listener);
    };
  });
}
