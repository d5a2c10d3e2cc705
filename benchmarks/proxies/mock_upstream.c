/* A fast mock of an OpenAI-compatible server: one thread, one epoll, no parser.
 *
 * Usage: mock_upstream [PORT]; its first line names the port. Without "stream":true in the body it answers
 * with about 1 kB of JSON; with it, with CHUNKS server-sent events, each in a chunk and a write of its own,
 * then the usage (only where include_usage was asked for) and [DONE]. A text in the body that begins with
 * gapNN sets NN milliseconds between the events; without it they follow each other at once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNKS = 64, FIRST_BUFFER = 1 << 16, EVENTS = 256 };

typedef struct Connection {
    int fd;
    char *buffer;
    size_t filled, capacity;
    int chunks_left, asks_usage;
    long long gap_us, next_us;              /* of a paced stream */
    struct Connection *next, *previous;     /* the list of paced streams */
} Connection;

typedef struct { char bytes[4096]; size_t size; } Text;

static Text whole_reply, content_event, usage_and_end, plain_end;
static Connection paced = { .next = &paced, .previous = &paced };
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
    "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
    "x-request-id: abcdef0123456789\r\n\r\n";

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static int write_all(Connection *c, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(c->fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd writable = { c->fd, POLLOUT, 0 };
            poll(&writable, 1, 1000);
        } else if (sent < 0) {
            return -1;
        } else {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
    return 0;
}

static int write_text(Connection *c, const Text *text) { return write_all(c, text->bytes, text->size); }
static int end_stream(Connection *c) { return write_text(c, c->asks_usage ? &usage_and_end : &plain_end); }

static void leave_paced(Connection *c) {
    if (c->next) {
        c->previous->next = c->next;
        c->next->previous = c->previous;
        c->next = c->previous = NULL;
    }
}

static void close_connection(Connection *c) {
    leave_paced(c);
    close(c->fd);
    free(c->buffer);
    free(c);
}

static int answer(Connection *c, char *body, size_t size) {
    /* What matters stands at either end of the body, so that a long prompt isn't searched through. */
    size_t edge = size < 4096 ? size : 4096;
    char *tail = body + size - edge;
    char *gap = memmem(body, edge, "\"gap", 4);
    if (!memmem(body, edge, "\"stream\":true", 13) && !memmem(tail, edge, "\"stream\":true", 13)
        && !memmem(tail, edge, "\"stream\": true", 14) && !memmem(body, edge, "\"stream\": true", 14))
        return write_text(c, &whole_reply);
    c->asks_usage = memmem(tail, edge, "include_usage", 13) || memmem(body, edge, "include_usage", 13);
    c->gap_us = gap ? atoi(gap + 4) * 1000LL : 0;
    if (write_all(c, STREAM_HEAD, sizeof STREAM_HEAD - 1) < 0) return -1;
    if (c->gap_us == 0) {
        for (int i = 0; i < CHUNKS; i++)
            if (write_text(c, &content_event) < 0) return -1;
        return end_stream(c);
    }
    c->chunks_left = CHUNKS;
    c->next_us = now_us() + c->gap_us / 4;
    c->next = &paced;
    c->previous = paced.previous;
    paced.previous->next = c;
    paced.previous = c;
    return 0;
}

/* The body's length; -1: its end isn't there yet. */
static long find_body_size(char *head, size_t head_size, size_t filled) {
    head[head_size - 4] = 0;
    char *length = strcasestr(head, "content-length:");
    char *chunked = strcasestr(head, "transfer-encoding: chunked");
    head[head_size - 4] = '\r';
    if (length) return atol(length + 15);
    if (!chunked) return 0;
    char *end = memmem(head + head_size, filled - head_size, "0\r\n\r\n", 5);
    return end ? end + 5 - head - (long)head_size : -1;
}

static int serve_requests(Connection *c) {
    for (;;) {
        c->buffer[c->filled] = 0;
        char *end = memmem(c->buffer, c->filled, "\r\n\r\n", 4);
        if (!end) return 0;
        size_t head_size = (size_t)(end - c->buffer) + 4;
        long body_size = find_body_size(c->buffer, head_size, c->filled);
        if (body_size < 0 || c->filled < head_size + (size_t)body_size) return 0;
        if (answer(c, c->buffer + head_size, (size_t)body_size) < 0) return -1;
        c->filled -= head_size + (size_t)body_size;
        memmove(c->buffer, c->buffer + head_size + body_size, c->filled);
    }
}

static int receive(Connection *c) {
    if (c->filled == c->capacity) c->buffer = realloc(c->buffer, (c->capacity *= 2) + 1);
    ssize_t got = recv(c->fd, c->buffer + c->filled, c->capacity - c->filled, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) return -1;
    c->filled += (size_t)got;
    return serve_requests(c);
}

static void accept_all(int listener, int epoll) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->capacity = FIRST_BUFFER;
        c->buffer = malloc(c->capacity + 1);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void write_due_events(void) {
    long long now = now_us();
    for (Connection *c = paced.next, *next; c != &paced; c = next) {
        next = c->next;
        if (c->next_us > now) continue;
        c->next_us += c->gap_us;
        if (c->chunks_left-- > 0) {
            if (write_text(c, &content_event) < 0) leave_paced(c);
        } else {
            leave_paced(c);
            end_stream(c);
        }
    }
}

static void frame_chunk(Text *into, const char *event) {
    into->size += (size_t)sprintf(into->bytes + into->size, "%zx\r\n%s\r\n", strlen(event), event);
}

static void make_replies(void) {
    static const char USAGE[] =
        "\"usage\":{\"prompt_tokens\":123,\"completion_tokens\":64,\"total_tokens\":187,"
        "\"prompt_tokens_details\":{\"cached_tokens\":100}}";
    static const char EVENT[] =
        "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"mock-model\",\"choices\":[";
    char text[2048], content[1024] = "";
    for (int i = 0; i < 55; i++) strcat(content, "lorem ipsum ");
    int size = sprintf(text,
        "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"mock-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "\"%s\"},\"finish_reason\":\"stop\"}],%s}", content, USAGE);
    whole_reply.size = (size_t)sprintf(whole_reply.bytes,
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-length: %d\r\n"
        "content-type: application/json\r\nx-request-id: abcdef0123456789\r\n\r\n%s", size, text);
    sprintf(text, "%s{\"index\":0,\"delta\":{\"content\":\" tok\"},\"logprobs\":null,\"finish_reason\":null,"
        "\"token_ids\":null}],\"service_tier\":\"default\"}\n\n", EVENT);
    frame_chunk(&content_event, text);
    sprintf(text, "%s],%s}\n\n", EVENT, USAGE);
    frame_chunk(&usage_and_end, text);
    for (Text *end = &usage_and_end; end; end = end == &usage_and_end ? &plain_end : NULL) {
        frame_chunk(end, "data: [DONE]\n\n");
        end->size += (size_t)sprintf(end->bytes + end->size, "0\r\n\r\n");
    }
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1024) < 0) {
        perror("mock_upstream");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    make_replies();
    int listener = listen_on(count > 1 ? atoi(words[1]) : 0), epoll = epoll_create1(0);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL }, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, paced.next != &paced ? 1 : -1);
        for (int i = 0; i < ready; i++) {
            Connection *c = events[i].data.ptr;
            if (!c) accept_all(listener, epoll);
            else if (receive(c) < 0) close_connection(c);
        }
        if (paced.next != &paced) write_due_events();
    }
}
