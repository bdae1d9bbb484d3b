// Drives the gateway with OpenAI's own client for Node, unmodified. Arguments: folder of node_modules, base URL, then keys by name (name=key).
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const [modules, baseURL, ...pairs] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(modules, 'from-here.js')));
const { default: OpenAI } = await import(pathToFileURL(require.resolve('openai')).href.replace(/index\.js$/, 'index.mjs'));
const keys = Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
let checks = 0;

function check(condition, what) {
  checks += 1;
  if (!condition) {
    console.error(`FAILED: ${what}`);
    process.exit(1);
  }
}

const client = (name = 'member', options = {}) => new OpenAI({ baseURL, apiKey: keys[name] ?? name, maxRetries: 0, ...options });
const ask = (name, prompt, fields = {}) =>
  client(name).chat.completions.create({ model: 'scripted', messages: [{ role: 'user', content: prompt }], ...fields });

async function refused(kind, status, code, name, prompt, fields = {}, shouldRetry = 'false') {
  try {
    await ask(name, prompt, fields);
  } catch (error) {
    check(error instanceof OpenAI[kind], `${error?.constructor?.name} for ${code}, expected ${kind}: ${error}`);
    check(error.status === status, `${error.status} for ${code}`);
    check(error.code === code, `code ${error.code}, expected ${code}`);
    check(error.message && error.type && error.requestID, `message, type and request id of ${code}`);
    check(error.headers.get('x-should-retry') === shouldRetry, `x-should-retry of ${code}`);
    return error;
  }
  check(false, `${code} was not refused`);
}

// Plain.
const { data: reply, response } = await ask('member', 'hello there', { temperature: 0.5, max_completion_tokens: 50, user: 'u1' }).withResponse();
check(reply.choices[0].message.content === 'hello there', `content ${reply.choices[0].message.content}`);
check(reply.choices[0].finish_reason === 'stop' && reply.object === 'chat.completion', 'end and head');
check(reply.usage.completion_tokens === 2 && reply.usage.total_tokens === reply.usage.prompt_tokens + 2, `usage ${JSON.stringify(reply.usage)}`);
check(/^\d+\/\d+$/.test(response.headers.get('x-tollgate-record')), 'record header');
check(reply._request_id, 'request id');

// Streamed.
let text = '';
let finish = null;
let usage = null;
for await (const chunk of await ask('member', '!pace_ms 10\n!say one two three four', { stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta?.content ?? '';
  finish = chunk.choices[0]?.finish_reason ?? finish;
  usage = chunk.usage ?? usage;
}
check(text === 'one two three four' && finish === 'stop', `streamed ${text} ${finish}`);
check(usage?.completion_tokens === 4, `usage ${JSON.stringify(usage)}`);
const early = await ask('member', '!pace_ms 5\n!tokens 100000', { stream: true });
let pieces = 0;
for await (const _ of early) {
  if (++pieces === 3) break;
}
let broken = null;
try {
  for await (const _ of await ask('member', '!pace_ms 30\n!say one \n!say two \n!fail', { stream: true }));
} catch (error) {
  broken = error;
}
check(broken instanceof OpenAI.APIError, `a broken stream: ${broken}`);

// Tools, by the SDK's own loop, which sends back what it made of each reply. The script calls again each time: two turns are enough.
for (const stream of [false, true]) {
  const asked = [];
  const find = { type: 'function', function: { name: 'find', parse: JSON.parse, function: (q) => { asked.push(q); return 'found'; },
                                               parameters: { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] } } };
  const messages = [{ role: 'user', content: '!call find {"q": "a"}' }];
  const runner = client().chat.completions.runTools({ model: 'scripted', messages, tools: [find], stream }, { maxChatCompletions: 2 });
  await runner.done();
  check(asked.length === 2 && asked[1].q === 'a', `a loop of tools, streamed: ${stream}: ${JSON.stringify(asked)}`);
}

// Models.
const listed = [];
for await (const model of client().models.list()) listed.push(model.id);
check(listed.join() === 'scripted', `models ${listed}`);
check((await client().models.retrieve('scripted')).owned_by === 'tollgate', 'one model');

// Errors.
await refused('AuthenticationError', 401, 'invalid_api_key', 'tg_live_wrong', 'hello');
await refused('NotFoundError', 404, 'model_not_found', 'member', 'hello', { model: 'nope' });
await refused('PermissionDeniedError', 403, 'content_filter', 'member', 'say swordfish');
await refused('PermissionDeniedError', 403, 'content_filter', 'member', 'say swordfish', { stream: true });
const because = "Your organisation's policy (rule no.fish) applies to this text.";
const fish = '!say tell me sword\\|fish now';
const whole = (await ask('member', fish)).choices[0];
const ends = [];
for await (const chunk of await ask('member', fish, { stream: true })) {
  if (chunk.choices[0]?.finish_reason) ends.push(chunk.choices[0]);
}
check(ends.length === 1, `ends of a stream ${JSON.stringify(ends)}`);
for (const end of [whole, ends[0]]) {
  const { action, rules } = end.tollgate?.output_policy ?? {};
  const told = action === 'block' && rules.length === 1 && rules[0].id === 'no.fish' && rules[0].because === because;
  check(end.finish_reason === 'content_filter' && told, `why it was blocked: ${JSON.stringify(end)}`);
}
const bad = await refused('BadRequestError', 400, 'invalid_request', 'member', 'hello', { temperature: 9 });
check(bad.param === 'temperature', `param ${bad.param}`);
await refused('RateLimitError', 429, 'insufficient_quota', 'spent', 'hello');
const started = Date.now();
let spent = null;
try {
  await client('spent', { maxRetries: 2 }).chat.completions.create({ model: 'scripted', messages: [{ role: 'user', content: 'hello' }] });
} catch (error) {
  spent = error;
}
check(spent instanceof OpenAI.RateLimitError && Date.now() - started < 1000, 'the client tried a spent budget again');
// A full minute, with the wait that the client is told.
let full = null;
for (let asked = 0; asked < 3 && full === null; asked += 1) {
  try {
    await ask('busy', 'hello');
  } catch (error) {
    full = error;
  }
}
check(full instanceof OpenAI.RateLimitError && full.status === 429 && full.code === 'rate_limit_exceeded', `a full minute: ${full}`);
const wait = Number(full.headers.get('retry-after'));
check(wait >= 1 && wait <= 60, `retry-after ${wait}`);
check(full.headers.get('x-should-retry') === 'true', 'x-should-retry of a full minute');
check(full.headers.get('x-ratelimit-remaining-requests') === '0', 'remaining requests');
console.log(`${checks} checks`);
process.exit(0);
