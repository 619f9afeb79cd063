// Requests to the server that served this page; the token travels in a cookie.

async function call(method, path, body) {
  const answer = await fetch(`api/${path}`, {
    method,
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  }).catch(() => { throw new Error('the viewer does not answer: start cflex view again, or look after the tunnel'); });
  if (!answer.ok) {
    let text = `the server answered ${answer.status}`;
    try { text = (await answer.json()).error || text; } catch { /* no JSON: the number says it */ }
    throw new Error(text);
  }
  return answer;
}

export const getJson = async (path) => (await call('GET', path)).json();
export const post = async (path, body) => (await call('POST', path, body)).json();
export const put = async (path, body) => (await call('PUT', path, body)).json();
export const remove = async (path) => (await call('DELETE', path)).json();
export const postText = async (path, body) => (await call('POST', path, body)).text();
export const postBytes = async (path, body) => new Uint8Array(await (await call('POST', path, body)).arrayBuffer());

// A JSON head and float32 arrays behind it (see `packed` in routes.py).
export async function postArrays(path, body) {
  const buffer = await (await call('POST', path, body)).arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  let place = 4 + size;
  const arrays = head.lengths.map((length) => {
    const array = new Float32Array(buffer, place, length);
    place += 4 * length;
    return array;
  });
  return { head, arrays };
}
