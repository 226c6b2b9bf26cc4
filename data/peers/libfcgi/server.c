/* libfcgi, threaded: each thread accepts a connection, serves the requests on it, and accepts the next. */

#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void echo(FCGX_Request *request)
{
    char buffer[16384];
    int count;
    const char *length = FCGX_GetParam("CONTENT_LENGTH", request->envp);

    FCGX_FPrintF(request->out, "Content-Type: application/octet-stream\r\nContent-Length: %s\r\n\r\n",
                 length && *length ? length : "0");
    while ((count = FCGX_GetStr(buffer, sizeof buffer, request->in)) > 0)
        FCGX_PutStr(buffer, count, request->out);
}

/* The thread waits, a second at most. */
static void wait_for(FCGX_Request *request)
{
    const char *query = FCGX_GetParam("QUERY_STRING", request->envp);
    struct timespec left;
    int ms = 0;

    if (!query || sscanf(query, "ms=%d", &ms) != 1 || ms < 0)
        ms = 0;
    if (ms > 1000)
        ms = 1000;
    left.tv_sec = ms / 1000;
    left.tv_nsec = ms % 1000 * 1000000L;
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
    FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\nwaited %d ms\n", ms);
}

static void answer(FCGX_Request *request)
{
    const char *path = FCGX_GetParam("SCRIPT_NAME", request->envp);

    if (path && strcmp(path, "/hello") == 0)
        FCGX_PutS("Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n", request->out);
    else if (path && strcmp(path, "/echo") == 0)
        echo(request);
    else if (path && strcmp(path, "/wait") == 0)
        wait_for(request);
    else
        FCGX_PutS("Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nnot found\n", request->out);
}

static void *serve(void *unused)
{
    FCGX_Request request;

    (void)unused;
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        answer(&request);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

int main(void)
{
    const char *workers = getenv("PEER_WORKERS");
    int count = workers ? atoi(workers) : 16;
    pthread_t thread;

    if (FCGX_Init() != 0)
        return 1;
    /* The main thread is the last of them. */
    while (--count > 0)
        if (pthread_create(&thread, NULL, serve, NULL) != 0)
            return 1;
    serve(NULL);
    return 0;
}
