/** Who listens to a machine; knows at any time whether anybody does. */
import { EventEmitter } from 'eventemitter3';
import type { EventSink } from './sink.ts';
import type { SimEventMap } from './types.ts';

export type Name = keyof SimEventMap;
export type Listener<N extends Name> = EventEmitter.EventListener<SimEventMap, N>;

export abstract class Listeners extends EventEmitter<SimEventMap> {
  /** True while there is a listener or a sink. */
  listening = false;
  /** Listeners to a kind, those to every kind not counted. */
  protected kindsHeard = 0;
  /** Whom to tell: the sinks, and after them, where there are listeners, who tells those. */
  protected sinks: readonly EventSink[] = [];
  #attached: readonly EventSink[] = [];

  /** Tells the listeners, once there are some. */
  protected abstract readonly teller: EventSink;

  /** The last listener has gone. */
  protected abstract onSilence(): void;

  /** Tells `sink` everything from now on, before any listener hears of it. */
  attach(sink: EventSink): void {
    this.#attached = [...this.#attached, sink];
    this.#count();
  }

  detach(sink: EventSink): void {
    this.#attached = this.#attached.filter((one) => one !== sink);
    this.#count();
  }

  override on<N extends Name>(name: N, listener: Listener<N>, context?: unknown): this {
    super.on(name, listener, context);
    this.#count();
    return this;
  }

  override addListener<N extends Name>(name: N, listener: Listener<N>, context?: unknown): this {
    return this.on(name, listener, context);
  }

  override once<N extends Name>(name: N, listener: Listener<N>, context?: unknown): this {
    super.once(name, listener, context);
    this.#count();
    return this;
  }

  /** The emitter itself calls this, too: for a listener that was to be called once. */
  override removeListener<N extends Name>(
    name: N,
    listener?: Listener<N>,
    context?: unknown,
    once?: boolean,
  ): this {
    super.removeListener(name, listener, context, once);
    this.#count();
    return this;
  }

  override off<N extends Name>(
    name: N,
    listener?: Listener<N>,
    context?: unknown,
    once?: boolean,
  ): this {
    return this.removeListener(name, listener, context, once);
  }

  override removeAllListeners(name?: Name): this {
    super.removeAllListeners(name);
    this.#count();
    return this;
  }

  #count(): void {
    const heard = this.eventNames();
    this.kindsHeard = heard.filter((name) => name !== '*').length;
    this.sinks = heard.length > 0 ? [...this.#attached, this.teller] : this.#attached;
    this.listening = this.sinks.length > 0;
    if (!this.listening) this.onSilence();
  }
}
