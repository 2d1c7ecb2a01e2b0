// Shows what the lines of a chart say beneath the pointer. The page says all it has to say without this.
'use strict';
for (const plot of document.querySelectorAll('g.plot')) {
  const svg = plot.ownerSVGElement;
  const readout = svg.parentElement.querySelector('.readout');
  const [left, top, width, height] = plot.dataset.box.split(' ').map(Number);
  const axis = (text) => {
    const [kind, from, to, unit] = text.split(' ');
    return { kind, from: Number(from), to: Number(to), unit };
  };
  const [x, y] = [axis(plot.dataset.x), axis(plot.dataset.y)];
  const names = [...svg.parentElement.querySelectorAll('.legend li')].map((item) => item.textContent);
  const lines = [...plot.querySelectorAll('path.series')].map((path) =>
    path.getAttribute('d').split(/[ML]/).filter(Boolean).map((point) => point.split(' ').map(Number)));
  const cross = svg.appendChild(document.createElementNS(svg.namespaceURI, 'path'));
  cross.setAttribute('class', 'cross');

  const value = (a, share) => {
    if (a.kind === 'log') return a.from * (a.to / a.from) ** share;
    if (a.kind === 'nines') return 100 - 100 * 10 ** (-share * a.to);
    return a.from + (a.to - a.from) * share;
  };
  const digits = (number) => (number >= 99.95 ? number.toFixed(0) : number.toPrecision(3));
  const words = (number, unit) => {
    if (unit === 'Nanoseconds') {
      const [size, name] = [[1e9, 's'], [1e6, 'ms'], [1e3, 'us'], [1, 'ns']].find(([size]) => number >= size) ?? [1, 'ns'];
      return `${digits(number / size)} ${name}`;
    }
    if (unit === 'Percent') return `${number > 99 ? number.toFixed(4).replace(/0+$/, '') : digits(number)} %`;
    return `${digits(number)}${unit === 'Seconds' ? ' s' : ''}`;
  };
  const at = (points, place) => {
    const after = points.findIndex(([px]) => px >= place);
    if (after < 0 || (after === 0 && points[0][0] > place)) return undefined;
    if (after === 0) return points[0][1];
    const [[x0, y0], [x1, y1]] = [points[after - 1], points[after]];
    return x1 === x0 ? y1 : y0 + ((y1 - y0) * (place - x0)) / (x1 - x0);
  };
  svg.addEventListener('pointermove', (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const place = Math.min(Math.max(point.x, left), left + width);
    cross.setAttribute('d', `M${place} ${top}L${place} ${top + height}`);
    const shown = lines.map((points, index) => {
      const height_at = at(points, place);
      if (height_at === undefined) return '';
      return `${names[index]} ${words(value(y, 1 - (height_at - top) / height), y.unit)}`;
    });
    readout.textContent = `at ${words(value(x, (place - left) / width), x.unit)}: ${shown.filter(Boolean).join('; ')}`;
  });
  svg.addEventListener('pointerleave', () => { cross.removeAttribute('d'); readout.textContent = ''; });
}
