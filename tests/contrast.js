/* Contrast of every visible element that the selector finds, with the first ground behind it that is not see-through,
   as WCAG 2.1 defines it. */
(selector) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (color) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => {
        const bend = (v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        const [x, y, z] = [r, g, b].map((v) => bend(v / 255));
        return .2126 * x + .7152 * y + .0722 * z;
    };
    return [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).slice(0, 40).map((e) => {
        let under = e;
        while (under && rgb(getComputedStyle(under).backgroundColor)[3] < 255) under = under.parentElement;
        const [a, b] = [light(rgb(getComputedStyle(e).color)), light(rgb(getComputedStyle(under).backgroundColor))];
        return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.className || e.tagName];
    });
}
