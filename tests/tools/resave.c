/* Loads a model and saves it again: resave IN OUT [external]. For the interoperability tests. */
#include "graph/format.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    Err err = { .code = OK };
    Graph *g = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: resave IN OUT [external]\n");
        return ERR_USAGE;
    }
    SaveOptions save = { .external = argc > 3 && strcmp(argv[3], "external") == 0 };
    Status status = model_load(argv[1], NULL, &g, &err);
    if (status == OK) status = model_save(g, argv[2], &save, &err);
    graph_free(g);
    if (status != OK) fprintf(stderr, "resave: %s\n", err.text);
    return (int)status;
}
