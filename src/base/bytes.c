/* Byte streams with transparent gzip (RFC 1952, members may follow one another). */
#include "base/bytes.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <zlib.h>

enum { BYTES_BUF = 1 << 16 };

struct tn_bytes {
    int fd;
    bool gz, member_open, eof; /* eof: of the file */
    z_stream z;
    unsigned char *in;         /* [BYTES_BUF] */
    size_t pos, end;           /* unread part of `in` */
    char *path;
};

static tn_status bytes_fill(tn_bytes *b, tn_err *e) {
    if (b->eof || b->pos < b->end) return TN_OK;
    ssize_t r = tn_sys_read(b->fd, b->in, BYTES_BUF);
    if (r < 0) return tn_fail(e, TN_IO, "cannot read %s: %s", b->path, strerror(errno));
    b->pos = 0;
    b->end = (size_t)r;
    b->eof = r == 0;
    return TN_OK;
}

/* The magic needs two bytes, and a pipe may deliver them one at a time; an empty line is one. */
static tn_status bytes_sniff(tn_bytes *b, tn_err *e) {
    while (b->end < 2 && !b->eof && (b->end == 0 || b->in[0] == 0x1f)) {
        ssize_t r = tn_sys_read(b->fd, b->in + b->end, BYTES_BUF - b->end);
        if (r < 0) return tn_fail(e, TN_IO, "cannot read %s: %s", b->path, strerror(errno));
        b->end += (size_t)r;
        b->eof = r == 0;
    }
    b->gz = b->end >= 2 && b->in[0] == 0x1f && b->in[1] == 0x8b;
    if (b->gz && inflateInit2(&b->z, 15 + 16) != Z_OK) {
        b->gz = false;
        return tn_fail(e, TN_NOMEM, "no memory to inflate %s", b->path);
    }
    b->member_open = b->gz;
    return TN_OK;
}

tn_status tn_bytes_open(tn_bytes **out, const char *path, tn_err *e) {
    tn_status st;
    *out = NULL;
    tn_bytes *b = tn_calloc(1, sizeof *b);
    if (!b) return tn_fail(e, TN_NOMEM, "no memory to open %s", path);
    b->fd = -1;
    bool in = !strcmp(path, "-");
    b->path = tn_strdup(in ? "standard input" : path);
    b->in = tn_malloc(BYTES_BUF);
    if (!b->path || !b->in) {
        st = tn_fail(e, TN_NOMEM, "no memory to open %s", path);
        goto fail;
    }
    b->fd = in ? 0 : tn_sys_open(path, O_RDONLY, 0);
    if (b->fd < 0) {
        st = tn_fail(e, TN_IO, "cannot open %s: %s", path, strerror(errno));
        goto fail;
    }
    TN_GO(bytes_sniff(b, e), fail);
    *out = b;
    return TN_OK;
fail:
    tn_bytes_close(b);
    return st;
}

static tn_status bytes_inflate(tn_bytes *b, void *p, size_t n, size_t *got, tn_err *e) {
    b->z.next_out = p;
    b->z.avail_out = (uInt)(n < (1u << 30) ? n : 1u << 30);
    size_t want = b->z.avail_out;
    while (b->z.avail_out == want) {
        TN_TRY(bytes_fill(b, e));
        if (b->pos == b->end) {
            if (b->member_open)
                return tn_fail(e, TN_FORMAT, "%s: the gzip data ends early (a truncated download?)",
                               b->path);
            break;
        }
        if (!b->member_open) {
            /* Another member, or trailing zeros as tape blocks leave them. */
            if (b->in[b->pos] == 0) {
                b->pos++;
                continue;
            }
            inflateReset(&b->z);
            b->member_open = true;
        }
        b->z.next_in = b->in + b->pos;
        b->z.avail_in = (uInt)(b->end - b->pos);
        int r = inflate(&b->z, Z_NO_FLUSH);
        b->pos = b->end - b->z.avail_in;
        if (r == Z_STREAM_END) b->member_open = false;
        else if (r != Z_OK && r != Z_BUF_ERROR)
            return tn_fail(e, TN_FORMAT, "%s: damaged gzip data (%s)", b->path,
                           b->z.msg ? b->z.msg : "inflate failed");
    }
    *got = want - b->z.avail_out;
    return TN_OK;
}

tn_status tn_bytes_read(tn_bytes *b, void *p, size_t n, size_t *got, tn_err *e) {
    *got = 0;
    if (n == 0) return TN_OK;
    if (b->gz) return bytes_inflate(b, p, n, got, e);
    TN_TRY(bytes_fill(b, e));
    size_t k = b->end - b->pos < n ? b->end - b->pos : n;
    memcpy(p, b->in + b->pos, k);
    b->pos += k;
    *got = k;
    return TN_OK;
}

void tn_bytes_close(tn_bytes *b) {
    if (!b) return;
    if (b->gz) inflateEnd(&b->z);
    if (b->fd > 0) tn_sys_close(b->fd);
    tn_free(b->in);
    tn_free(b->path);
    tn_free(b);
}
