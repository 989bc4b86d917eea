/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay FOLDER: runs a fuzz target over each file of its corpus, with any
 * compiler.  replay FILE runs it over that one.
 */
#include <dirent.h>
#include <errno.h>

#include "fuzz.h"

static int
replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0;
    int rc = 1;

    if (file == NULL || fseek(file, 0, SEEK_END) == -1)
        goto out;
    size = (size_t)ftell(file);
    rewind(file);
    data = malloc(size); /* no more: a read past the end is seen */
    if ((data == NULL && size > 0) || fread(data, 1, size, file) != size)
        goto out;
    fprintf(stderr, "%s\n", path); /* the last one is the one that fails */
    LLVMFuzzerTestOneInput(data, size);
    rc = 0;
out:
    if (rc != 0)
        perror(path);
    free(data);
    if (file != NULL)
        fclose(file);
    return rc;
}

static int
replay_folder(DIR *folder, const char *path)
{
    struct dirent *entry;
    unsigned count = 0;
    int rc = 0;

    while ((entry = readdir(folder)) != NULL) {
        char *name;

        if (entry->d_name[0] == '.')
            continue;
        if (asprintf(&name, "%s/%s", path, entry->d_name) == -1)
            abort();
        rc |= replay_file(name);
        free(name);
        count++;
    }
    if (count == 0) {
        fprintf(stderr, "%s: nothing in it\n", path);
        return 1;
    }
    return rc;
}

int
main(int argc, char **argv)
{
    DIR *folder;
    int rc;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE|FOLDER\n", argv[0]);
        return 2;
    }
    folder = opendir(argv[1]);
    if (folder == NULL && errno != ENOTDIR) {
        perror(argv[1]);
        return 1;
    }
    if (folder == NULL)
        return replay_file(argv[1]);
    rc = replay_folder(folder, argv[1]);
    closedir(folder);
    return rc;
}
